"""What the documents show is run; what they point at exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    folders = {"__init__.py", "__main__.py", "0001_core.sql", "0002_execution.sql"}
    inside_named_folders = {
        path.name for folder in ("cli", "worker/chores") for path in (source / folder).glob("*.py")
    }
    assert named <= there
    assert there - folders - inside_named_folders <= named
