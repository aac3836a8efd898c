"""What holds for every command: where the database is named, JSON, exit codes, and what is not created."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import terminal
from terminal import Gigq, MakeJob

from gigq import JobQueue, __version__
from gigq.cli.program import program

READERS = [
    ["list"],
    ["stats"],
    ["status", "x"],
    ["result", "x"],
    ["wait", "x"],
    ["logs", "x"],
    ["doctor"],
    ["clear"],
]
WRITERS = [["cancel", "x"], ["requeue", "x"]]


def _commands(group: click.Group, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found.append((*words, name))
        if isinstance(command, click.Group):
            found += _commands(command, (*words, name))
    return found


COMMANDS = _commands(program)


def test_these_are_the_commands_of_this_version() -> None:
    assert {" ".join(words) for words in COMMANDS} == {
        *(
            "submit",
            "status",
            "list",
            "cancel",
            "requeue",
            "clear",
            "stats",
            "worker",
            "result",
            "wait",
            "logs",
            "doctor",
            "explain",
            "retain",
        ),
        *(
            "schedule",
            "schedule add",
            "schedule register",
            "schedule list",
            "schedule pause",
            "schedule resume",
        ),
        "workflow",
        *(f"workflow {word}" for word in ("list", "show", "graph", "retry", "cancel")),
        *("schedule run", "schedule remove", "schedule backfill"),
        *("queue", "queue list", "queue pause", "queue resume", "queue limit", "queue age"),
        *("limit", "limit list", "limit set", "limit reset"),
        *("db", "db info", "db check", "db backup", "db migrate", "db vacuum", "completion"),
    }


@pytest.mark.parametrize("words", [(), *COMMANDS], ids=" ".join)
def test_every_command_explains_itself(gigq: Gigq, words: tuple[str, ...]) -> None:
    for flag in ("--help", "-h"):
        answer = gigq(*words, flag)
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.startswith(f"Usage: gigq {' '.join(words)}".rstrip())
        assert len(answer.out.splitlines()) > 4
        assert all(len(line) <= 80 for line in answer.out.splitlines())


def test_help_needs_neither_the_database_nor_the_drawing() -> None:
    code = (
        "import sys; from gigq.cli import main; assert main(['--help']) == 0; "
        "print(*(m for m in ('sqlite3', 'rich', 'msgspec', 'gigq.worker', 'gigq.store', 'asyncio') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_without_a_command_the_help_is_shown_as_a_usage_error(gigq: Gigq) -> None:
    answer = gigq()
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Usage: gigq ")


@pytest.mark.parametrize(
    "words", [["nonsense"], ["--nonsense"], ["status"], ["list", "extra"], ["db", "nonsense"]]
)
def test_what_is_not_understood_is_a_usage_error(gigq: Gigq, words: list[str]) -> None:
    answer = gigq(*words)
    assert (answer.code, answer.out) == (2, "")
    assert "--help" in answer.err or "Usage" in answer.err


def test_the_version(gigq: Gigq) -> None:
    assert gigq("--version") == (0, f"gigq {__version__}\n", "")


@pytest.mark.parametrize("way", [["-m", "gigq"], ["-m", "gigq.cli"]])
def test_both_modules_and_the_script_are_the_command(way: list[str]) -> None:
    script = str(Path(sys.executable).with_name("gigq"))
    for program_ in ([sys.executable, *way], [script]):
        assert terminal.gigq("--version", program=program_) == (0, f"gigq {__version__}\n", "")


# -- the database ------------------------------------------------------------------------------------------------


def test_the_database_is_named_before_or_after_the_command(
    gigq: Gigq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GIGQ_DB")
    ids = {}
    for name in ("one.db", "two.db"):
        ids[name] = gigq("--db", name, "submit", "jobs.nothing").out.split()[-1]
    assert ids["one.db"] in gigq("list", "--db", "one.db").out
    assert ids["two.db"] in gigq("--db", "one.db", "list", "--db", "two.db").out
    assert gigq("db", "--db", "two.db", "info").out.startswith(f"Database: {Path('two.db').absolute()}\n")
    assert gigq("db", "info", "--db=two.db").out.startswith(f"Database: {Path('two.db').absolute()}\n")
    assert gigq("status", ids["one.db"], "--db", "two.db").code == 1


def test_an_option_wins_over_the_environment_and_that_over_the_default(
    gigq: Gigq, db: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = make_job()
    assert job_id in gigq("list").out
    monkeypatch.setenv("GIGQ_DB_PATH", "other.db")
    assert job_id in gigq("list").out
    monkeypatch.setenv("GIGQ_DB", "")
    assert gigq("list").out == "No jobs found.\n"
    monkeypatch.setenv("GIGQ_DB_PATH", db)
    assert job_id in gigq("list").out
    assert gigq("list", "--db", "other.db").out == "No jobs found.\n"
    monkeypatch.delenv("GIGQ_DB")
    monkeypatch.delenv("GIGQ_DB_PATH")
    assert gigq("submit", "jobs.nothing").code == 0
    assert Path("gigq.db").exists()


@pytest.mark.parametrize("words", [*READERS, *WRITERS], ids=" ".join)
def test_no_command_but_submit_and_worker_creates_a_file(
    gigq: Gigq, tmp_path: Path, words: list[str]
) -> None:
    answer = gigq(*words)
    assert answer.code == (1 if "x" in words else 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here"]
    assert list(Path().iterdir()) == []


def test_a_missing_file_is_an_empty_queue(gigq: Gigq) -> None:
    assert gigq("list") == (0, "No jobs found.\n", "")
    assert json.loads(gigq("list", "--json").out) == []
    assert json.loads(gigq("stats", "--json").out)["total"] == 0
    assert gigq("clear").out == "Cleared 0 completed jobs.\n"
    assert gigq("status", "x").err.startswith("Job x not found.")


@pytest.mark.parametrize(
    "words",
    [["list"], ["stats"], ["status", "x"], ["submit", "jobs.nothing"], ["worker", "--once"], ["db", "info"]],
)
@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("no/such/jobs.db", "there is no folder"),
        (".", "is a folder"),
        ("text.db", "is not a SQLite database"),
    ],
)
def test_a_database_that_cannot_be_used_gives_5_and_one_line(
    gigq: Gigq, words: list[str], place: str, told: str
) -> None:
    Path("text.db").write_text("This is not a database. " * 1000)
    answer = gigq("--db", place, *words)
    assert (answer.code, answer.out) == (5, "")
    assert told in answer.err
    assert "'gigq doctor'" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert Path("text.db").read_text().startswith("This is not")


@pytest.mark.parametrize("place", [":memory:", "postgresql://host/db", ""])
def test_what_can_be_no_file_is_a_usage_error(gigq: Gigq, place: str) -> None:
    for words in (
        ["list"],
        ["submit", "jobs.nothing"],
        ["worker", "--once"],
        ["doctor"],
        ["db", "backup", "x.db"],
    ):
        answer = gigq("--db", place, *words)
        assert (answer.code, answer.out) == (2, ""), words
        assert "Traceback" not in answer.err


def test_hints_name_the_database_when_it_was_named(gigq: Gigq) -> None:
    assert "gigq --db 'my jobs.db' list" in gigq("status", "x", "--db", "my jobs.db").err
    assert "See which there are: gigq list\n" in gigq("status", "x").err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_a_file_that_may_not_be_read_gives_5(gigq: Gigq, db: str, on_file: JobQueue) -> None:
    Path(db).chmod(0)
    answer = gigq("list")
    assert answer.code == 5
    assert "no permission" in answer.err


@pytest.mark.parametrize("words", [["list"], ["submit", "jobs.nothing"], ["worker", "--once"]])
def test_durability_is_taken_before_and_after_the_command(
    gigq: Gigq, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = JobQueue.__init__

    def init(self: JobQueue, *args: object, **options: object) -> None:
        asked.append(str(options.get("durability", "unsaid")))
        real(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(JobQueue, "__init__", init)
    for line in (["--durability", "normal", *words], [*words, "--durability", "normal"]):
        asked.clear()
        assert gigq(*line).code == 0
        assert "normal" in asked
    assert gigq("--durability", "off", *words).code == 2


# -- JSON --------------------------------------------------------------------------------------------------------


def test_json_before_or_after_the_command_always_parses(
    gigq: Gigq, make_job: MakeJob, work: Callable[[], None]
) -> None:
    done = make_job("echo", params={"value": "\x1b[31m\x7f\u009b\u202e ż"})
    work()
    for words in (
        ["list"],
        ["stats"],
        ["status", done],
        ["result", done],
        ["wait", done],
        ["doctor"],
        ["db", "info"],
        ["db", "check"],
        ["db", "migrate"],
        ["db", "backup", "copy.db", "--force"],
        ["submit", "jobs.nothing"],
        ["clear"],
    ):
        for line in (["--json", *words], [*words, "--json"]):
            answer = gigq(*line)
            assert answer.code == (1 if words[0] in ("status", "result", "wait") and not answer.out else 0), (
                line
            )
            json.loads(answer.out)
            assert not any(sign in answer.out for sign in "\x1b\x7f\u009b\u202e"), line


def test_json_keeps_every_character_of_a_value(
    gigq: Gigq, make_job: MakeJob, work: Callable[[], None]
) -> None:
    value = {"text": "\x1b[31m \x7f \u009b \u202e ż \U0001f422"}
    done = make_job("echo", params={"value": value})
    work()
    assert json.loads(gigq("result", done, "--json").out) == value


# -- completion --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(gigq: Gigq, shell: str) -> None:
    answer = gigq("completion", shell)
    assert answer.code == 0
    assert "_GIGQ_COMPLETE" in answer.out
    assert f"{shell}_complete" in answer.out


def test_the_script_for_bash_is_valid_and_completes(gigq: Gigq) -> None:
    script = gigq("completion", "bash").out
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    env = {"_GIGQ_COMPLETE": "bash_complete", "COMP_WORDS": "gigq lis", "COMP_CWORD": "1"}
    assert terminal.gigq(env=env) == (0, "plain,list\n", "")


def test_an_unknown_shell_is_a_usage_error(gigq: Gigq) -> None:
    assert gigq("completion", "tcsh").code == 2
