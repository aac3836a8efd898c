"""The examples, run as a user runs them: finished, killed, stopped, and run again."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from gigq import Job, JobQueue

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

from census_report import Box, page, squarify  # noqa: E402
from stdlib_census import facts_of, modules_of, report_of  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 60.0
"""Seconds, for what happens at once on any machine that is not stuck."""

needs_pipes = pytest.mark.skipif(
    not hasattr(os, "mkfifo"), reason="a pipe is what stops a job on its way here"
)


# --- what is counted ----------------------------------------------------------------------------------------


def test_facts_of_a_module() -> None:
    source = b'''"""Module
docstring."""
# a comment
import os.path, sys
from . import sibling
from collections.abc import Iterable

class Outer:
    """Docstring."""
    def method(self):
        def nested():
            return 1
        return nested

    async def later(self): ...

    class Inner:
        def deep(self):
            pass

TEXT = """
# part of the text

"""
async def top(): "on one line"
'''
    assert facts_of(source, "pkg.mod", "pkg/mod.py") == {
        "module": "pkg.mod",
        "file": "pkg/mod.py",
        "lines": 25,
        "code": 17,
        "functions": 2,
        "methods": 3,
        "async_functions": 2,
        "classes": 2,
        "longest": {"name": "pkg.mod.Outer.method", "line": 10, "lines": 4},
        "imports": ["collections", "os", "sys"],
    }


def test_an_empty_module_has_nothing() -> None:
    facts = facts_of(b"", "empty", "empty.py")
    assert (facts["lines"], facts["code"], facts["longest"], facts["imports"]) == (0, 0, None, [])


@pytest.mark.parametrize(
    "source",
    [b"print 'two'", b"# coding: nowhere\n", b"x = '\xff'", b"def f(:"],
    ids=["old", "cookie", "bytes", "typo"],
)
def test_what_is_not_python_raises(source: bytes) -> None:
    with pytest.raises(SyntaxError):
        facts_of(source, "bad", "bad.py")


def test_encodings_and_byte_order_marks_are_read() -> None:
    assert facts_of("# coding: latin-1\nname = 'é'\n".encode("latin-1"), "m", "m.py")["code"] == 1
    assert facts_of(b"\xef\xbb\xbf# comment\nx = 1\n", "m", "m.py")["code"] == 1


def test_expressions_deeper_than_the_stack_are_read() -> None:
    source = "def f():\n    return " + "+".join(["x"] * 900)
    assert facts_of(source.encode(), "m", "m.py")["functions"] == 1


def test_modules_are_listed_by_file(tmp_path: Path) -> None:
    names = ("b.py", "a/__init__.py", "a/c.py", "a/test/d.py", "site-packages/e.py", "test.py", "a/data.txt")
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert modules_of(tmp_path) == {"a/__init__.py": "a", "a/c.py": "a.c", "b.py": "b", "test.py": "test"}
    assert list(modules_of(tmp_path, tests=True).values()) == ["a", "a.c", "a.test.d", "b", "test"]
    assert list(modules_of(tmp_path, limit=2).values()) == ["a", "a.c"]


def a_report(*modules: str) -> Any:
    found = [facts_of(b"import os\ndef f(): pass\n", module, f"{module}.py") for module in modules]
    return report_of("Title & <b>", found, [{"module": "<i>bad</i>", "error": "SyntaxError: '<' & \""}])


def test_a_report_adds_up() -> None:
    report = a_report("one", "two")
    assert report["totals"] == {
        "modules": 2,
        "lines": 4,
        "code": 4,
        "classes": 0,
        "functions": 2,
        "methods": 0,
        "async_functions": 0,
    }
    assert report["imported"] == {"os": 2}


def test_the_page_is_escaped_and_self_contained() -> None:
    html = page(a_report("one", "<u>two</u>"))
    assert "<script" not in html
    assert "http" not in html
    for raw in ("<i>bad", "<u>two", "& <b>"):
        assert raw not in html
    assert "Title &amp; &lt;b&gt;" in html
    for drawing in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ET.fromstring(drawing)


def test_an_empty_report_can_be_drawn() -> None:
    assert "All 0 modules" in page(report_of("Nothing", [], []))


def test_the_map_fills_its_box() -> None:
    sizes = [60, 40, 30, 20, 5, 5, 1]
    places = squarify(sizes, Box(10, 20, 300, 100))
    for size, place in zip(sizes, places, strict=True):
        assert place.width * place.height == pytest.approx(size / sum(sizes) * 300 * 100)
        assert place.x >= 10
        assert place.y >= 20
        assert place.x + place.width <= 310 + 1e-6
        assert place.y + place.height <= 120 + 1e-6
        assert max(place.width / place.height, place.height / place.width) < 6


# --- the script ---------------------------------------------------------------------------------------------


class Census:
    """The script, its files, and what the database says about it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.db = folder / "new folder" / "census.db"
        self.out = folder / "out"
        script = str(EXAMPLES / "stdlib_census.py")
        self.command = [sys.executable, script, "--db", str(self.db), "--out", str(self.out), *options]

    def start(self, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, *more],
            cwd=self.folder,
            env=os.environ | {"COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *more: str, code: int = 0) -> str:
        with self.start(*more) as process:
            try:
                output, _ = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        assert process.returncode == code, output
        return output

    def report(self) -> Any:
        return json.loads((self.out / "census.json").read_text(encoding="utf-8"))

    def jobs(self) -> dict[str, dict[str, Any]]:
        queue = JobQueue(str(self.db))
        try:
            return {job["name"]: queue.get_status(job["id"]) for job in queue.list_jobs(limit=1000)}
        finally:
            queue.close()


def until(true: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Census, str]:
    census = Census(tmp_path_factory.mktemp("census"), "--limit", "60", "--concurrency", "2")
    return census, census.run()


def counted_independently(limit: int) -> dict[str, int]:
    root = Path(sysconfig.get_path("stdlib"))
    files = [p.relative_to(root) for p in root.glob("**/*.py")]
    without = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
    totals: Counter[str] = Counter()
    for file in sorted(f for f in files if not without & set(f.parts[:-1]))[:limit]:
        tree = ast.parse((root / file).read_bytes())
        kinds = Counter(type(node).__name__ for node in ast.walk(tree))
        asynchronous = kinds["AsyncFunctionDef"]
        totals.update(
            modules=1,
            classes=kinds["ClassDef"],
            all_functions=kinds["FunctionDef"] + asynchronous,
            async_functions=asynchronous,
        )
    return dict(totals)


def test_the_report_agrees_with_an_independent_count(finished: tuple[Census, str]) -> None:
    census, output = finished
    report, expected = census.report(), counted_independently(60)
    totals = report["totals"]
    assert totals["functions"] + totals["methods"] == expected.pop("all_functions")
    assert {key: totals[key] for key in expected} == expected
    assert len({facts["module"] for facts in report["modules"]}) == 60
    html = (census.out / "census.html").read_text(encoding="utf-8")
    for key in ("modules", "code", "classes", "functions", "methods", "async_functions"):
        assert f"<dd>{totals[key]:,}</dd>" in html
        assert f"{totals[key]:,}" in output
    assert "Planned 60 jobs" in output
    assert "--show-result" in output


def test_a_finished_census_is_shown_at_once(finished: tuple[Census, str]) -> None:
    census, first = finished
    before, report = census.jobs(), census.report()
    (census.out / "census.json").unlink()
    again = census.run()
    assert "All 60 modules were already done; nothing to do." in again
    assert again.partition("counted")[2] == first.partition("counted")[2]
    assert census.report() == report
    assert census.jobs() == before


def test_another_census_is_refused_unless_fresh(finished: tuple[Census, str], tmp_path: Path) -> None:
    first, _ = finished
    census = Census(tmp_path, "--limit", "2")
    census.db = first.db
    census.command[census.command.index("--db") + 1] = str(first.db)
    assert "holds another census. Start over with --fresh" in census.run(code=1)
    assert not census.out.exists()


def test_fresh_starts_over_but_spares_the_jobs_of_others(tmp_path: Path) -> None:
    census = Census(tmp_path, "--limit", "2")
    census.run()
    before = census.jobs()
    assert "Planned 2 jobs" in census.run("--fresh")
    assert before.keys() == census.jobs().keys()
    assert {job["id"] for job in before.values()}.isdisjoint(job["id"] for job in census.jobs().values())

    other = JobQueue(str(census.db)).submit(Job("other", "os.getcwd"))
    assert "Choose another file" in census.run("--fresh", code=1)
    assert JobQueue(str(census.db)).get_status(other)["status"] == "pending"


def test_a_module_that_does_not_parse_is_named_and_spoils_nothing(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "good.py").write_text("def f(): pass\n")
    (library / "bad.py").write_text("print 'two'\n")
    census = Census(tmp_path, "--root", str(library))
    output = census.run()
    report = census.report()
    assert report["totals"]["modules"] == 1
    (failure,) = report["failures"]
    assert failure["module"] == "bad"
    assert failure["error"].startswith("SyntaxError: Missing parentheses")
    assert "Could not be analysed" in output
    assert failure["error"] in output
    assert "bad" in (census.out / "census.html").read_text(encoding="utf-8")
    jobs = census.jobs()
    assert (jobs["bad"]["status"], jobs["good"]["status"]) == ("failed", "completed")


class Obstacle:
    """A library of small modules, one of which cannot be read to its end before we say so."""

    def __init__(self, folder: Path, modules: int) -> None:
        folder.mkdir()
        for number in range(modules - 1):
            (folder / f"m{number:03}.py").write_text(f"def f{number}(): pass\n")
        self.path = folder / "obstacle.py"
        os.mkfifo(self.path)
        self._pipe = -1

    def met(self) -> bool:
        """Whether a job is reading it by now."""
        if self._pipe < 0:
            try:
                self._pipe = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads
                return False
        return True

    def remove(self) -> None:
        """Put an ordinary module in its place, and let go whoever is reading."""
        if self._pipe >= 0:
            ordinary = self.path.with_suffix(".new")
            ordinary.write_text("class C: pass\n")
            ordinary.replace(self.path)
            os.close(self._pipe)
            self._pipe = -1


@pytest.fixture
def obstacle(tmp_path: Path) -> Iterator[Obstacle]:
    obstacle = Obstacle(tmp_path / "library", 40)
    yield obstacle
    obstacle.remove()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Children heed Ctrl-C, even if these tests were started in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def completed(census: Census) -> dict[str, dict[str, Any]]:
    return {name: job for name, job in census.jobs().items() if job["status"] == "completed"}


@needs_pipes
def test_killed_in_the_middle_it_goes_on(tmp_path: Path, obstacle: Obstacle) -> None:
    census = Census(tmp_path, "--root", str(tmp_path / "library"), "--concurrency", "2")
    process = census.start()
    until(obstacle.met, process)
    until(lambda: JobQueue(str(census.db)).stats()["completed"] >= 5, process)
    process.kill()
    process.communicate(timeout=PATIENCE)
    done = completed(census)
    assert "obstacle" not in done
    obstacle.remove()

    assert f"{len(done)} of 40 modules were already done; going on" in census.run("--concurrency", "2")
    totals = census.report()["totals"]
    assert (totals["modules"], totals["functions"], totals["classes"]) == (40, 39, 1)
    after = census.jobs()
    assert {name: after[name]["executions"] for name in done} == {
        name: job["executions"] for name, job in done.items()
    }
    assert [run["status"] for run in after["obstacle"]["executions"]] == ["crashed", "completed"]


@needs_pipes
@pytest.mark.usefixtures("ctrl_c")
def test_stopped_by_ctrl_c_it_ends_what_runs_and_goes_on(tmp_path: Path, obstacle: Obstacle) -> None:
    census = Census(tmp_path, "--root", str(tmp_path / "library"), "--concurrency", "2")
    process = census.start()
    assert process.stdout is not None
    until(obstacle.met, process)
    process.send_signal(signal.SIGINT)
    seen = ""
    while "Stopping" not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    obstacle.remove()
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, seen + output
    assert "Nothing is lost" in output
    assert "--root" in output
    done = completed(census)
    assert "obstacle" in done
    assert not [job for job in census.jobs().values() if job["status"] == "running"]

    assert f"{len(done)} of 40 modules were already done; going on" in census.run()
    assert census.report()["totals"]["modules"] == 40
