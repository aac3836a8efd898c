"""What the documents show is run; what they point at exists."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import terminal

from gigq.cli.program import program

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
SCRIPTS = {
    match[1]: match[0] for match in re.finditer(r"(?<=```python\n)# (\S+\.py)\n.*?(?=```)", README, re.DOTALL)
}


def run(folder: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_minute_works_as_shown(tmp_path: Path) -> None:
    (tmp_path / "digests.py").write_text(SCRIPTS["digests.py"])
    digest, name = run(tmp_path, "digests.py").split()
    assert (len(digest), name) == (64, "digests.py")
    commands = re.findall(r"^\$ gigq (--db jobs.db (?:stats|list))$", README, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert "completed" in run(tmp_path, "-m", "gigq", *command.split())


def test_the_pipeline_prints_what_its_comment_says(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(SCRIPTS["pipeline.py"])
    assert run(tmp_path, "pipeline.py") == "12\n"


EXECUTION = (ROOT / "docs" / "execution.md").read_text("utf-8")


def test_what_the_page_on_execution_shows_is_so(tmp_path: Path) -> None:
    """Each session that submits a job, with its id in place of JOB; what is printed begins as shown."""
    (tmp_path / "work.py").write_text(_script(EXECUTION, "work.py"))
    options = re.findall(r"`gigq (--db jobs.db worker [^`]*)`", EXECUTION)[0].split()
    sessions = re.findall(r"```console\n((?:(?!```).*\n)+)```", EXECUTION)
    assert len(sessions) == 5
    with terminal.started(*options, cwd=tmp_path) as worker:
        for session in sessions:
            job = ""
            for command, shown in re.findall(r"\$ gigq (.*)\n((?:[^$].*\n)*)", session):
                answer = terminal.gigq(*command.replace("JOB", job).split(), cwd=tmp_path)
                if " submit " in command:
                    job = answer.out.split()[-1]
                said = answer.out + answer.err
                for line in shown.replace("JOB", job).splitlines():
                    assert line.startswith("-- run") or line in said, (command, answer)
        assert terminal.end(worker).code == 0


def test_a_worker_in_python_stops_what_runs_too_long(tmp_path: Path) -> None:
    (tmp_path / "stops.py").write_text(_script(EXECUTION, "stops.py"))
    assert run(tmp_path, "stops.py") == "timeout\n"


SCHEDULES = (ROOT / "docs" / "schedules.md").read_text("utf-8")


def test_what_the_page_on_schedules_shows_is_so(tmp_path: Path) -> None:
    (tmp_path / "reports.py").write_text(_script(SCHEDULES, "reports.py"))
    run(tmp_path, "reports.py")
    run(tmp_path, "reports.py")
    listed = terminal.gigq("--db", "jobs.db", "schedule", "list", cwd=tmp_path)
    assert [line.split("  ")[0] for line in listed.out.splitlines()[1:]] == [
        "end of year",
        "eu hourly",
        "reports.report",
    ]
    [session] = re.findall(r"```console\n((?:(?!```).*\n)+)```", SCHEDULES)
    for command, shown in re.findall(r"\$ gigq (.*)\n([^$].*\n)", session):
        answer = terminal.gigq(*shlex.split(command), cwd=tmp_path)
        assert (answer.code, shown.strip() in answer.out) == (0, True), (command, answer)


PRINTING = {
    page: (ROOT / "docs" / page).read_text("utf-8")
    for page in ("limits.md", "retries.md", "transactions.md", "uniqueness.md", "workflows.md")
}
"""Pages whose scripts are each followed by what they print."""
PRINTED = [
    (page, name) for page, text in PRINTING.items() for name in re.findall(r"```python\n# (\S+\.py)\n", text)
]


@pytest.mark.parametrize(("page", "name"), PRINTED)
def test_a_page_prints_what_it_says(tmp_path: Path, page: str, name: str) -> None:
    text = PRINTING[page]
    (tmp_path / name).write_text(_script(text, name))
    shown = text.partition(f"# {name}\n")[2].partition("```text\n")[2].partition("```")[0]
    assert run(tmp_path, name) == shown


@pytest.mark.parametrize(("page", "name"), [("queues", "mailing.py"), ("time", "later.py")])
def test_a_page_of_flow_prints_what_its_comments_say(tmp_path: Path, page: str, name: str) -> None:
    script = _script((ROOT / "docs" / f"{page}.md").read_text("utf-8"), name)
    (tmp_path / name).write_text(script)
    said = re.findall(r"  print\(.*\)  # ([^:\n]*)", script)
    assert len(said) == 2
    assert run(tmp_path, name).splitlines() == said


def _script(document: str, name: str) -> str:
    found = re.search(rf"```python\n(# {re.escape(name)}\n.*?)```", document, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_unit_for_systemd_leaves_time_for_the_grace_and_names_real_options() -> None:
    unit = (ROOT / "docs" / "deployment.md").read_text("utf-8").split("```ini\n")[1].split("```")[0]
    words = re.findall(r"ExecStart=\S+/gigq (.*)", unit)[0].split()
    known = {option for parameter in program.commands["worker"].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    grace, patience = (
        int(words[words.index("--grace") + 1]),
        int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0]),
    )
    assert patience >= grace + 10
    for line in ("Type=notify", "KillMode=mixed", "Restart=always"):
        assert line in unit.splitlines()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8"))
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing


def test_the_commands_of_the_repository_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)|^\$ make ([a-z-]+)", README, re.MULTILINE))
    assert {left or right for left, right in named} <= targets


def test_architecture_names_every_module_and_no_other() -> None:
    house = (ROOT / "ARCHITECTURE.md").read_text("utf-8").split("```")[1]
    source = ROOT / "src" / "gigq"
    named = set(re.findall(r"[a-z0-9_]+\.(?:py|sql)\b", house))
    there = {path.name for path in source.rglob("*") if path.suffix in (".py", ".sql")}
    folders = {"__init__.py", "__main__.py"}
    inside_named_folders = {
        path.name
        for glob in ("cli/*.py", "worker/chores/*.py", "store/migrations/*.sql")
        for path in source.glob(glob)
    }
    assert named <= there
    assert there - folders - inside_named_folders <= named


RETENTION = (ROOT / "docs" / "retention.md").read_text("utf-8")


def test_what_the_page_on_retention_shows_is_so(tmp_path: Path) -> None:
    script = _script(RETENTION, "keep.py")
    (tmp_path / "keep.py").write_text(script)
    assert run(tmp_path, "keep.py").strip() == script.partition("print(kept)  # ")[2].strip()
    commands = re.findall(r"^\$ gigq (.*)$", RETENTION, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert terminal.gigq(*command.split(), cwd=tmp_path).code == 0
    kept = terminal.gigq("--db", "jobs.db", "retain", "--json", cwd=tmp_path).out
    assert json.loads(kept) == {"completed": None, "failed": 2592000, "cancelled": 129600, "timeout": 2592000}


FINDING = (ROOT / "docs" / "finding-jobs.md").read_text("utf-8")


def test_what_the_page_on_finding_jobs_shows_is_so(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(_script(FINDING, "shop.py"))
    printed = run(tmp_path, "shop.py").strip()
    assert f"It prints `{printed}`" in FINDING
    sessions = re.findall(r"\$ gigq (.*)\n((?:[^$`].*\n)*)", FINDING)
    assert len(sessions) == 3
    job = json.loads(terminal.gigq("--db", "jobs.db", "list", "--tag", "money", "--json", cwd=tmp_path).out)[
        0
    ]
    told = terminal.gigq(*sessions[2][0].replace("JOB", job["id"]).split(), cwd=tmp_path)
    assert told.out == sessions[2][1]
    for _ in range(2):
        assert terminal.gigq("--db", "jobs.db", "worker", "--once", cwd=tmp_path).code == 0
    found = terminal.gigq(*sessions[0][0].split(), cwd=tmp_path).out
    assert "error: ...or: the card of Ada was declined" in found
    assert job["id"] in found
