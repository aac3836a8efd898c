"""A census of Python's standard library: one job for each module, and one that merges what they found.

    python examples/stdlib_census.py            # counts; kill it whenever you like and run it again: it goes on
    python examples/stdlib_census.py --tests    # the library's own tests too, some of which are not even Python
    python examples/stdlib_census.py --root .   # any other folder

Everything lives in one SQLite file. Nothing else remembers what is done, so nothing else can be wrong about it.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import shlex
import shutil
import sys
import sysconfig
import threading
import time
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from census_report import Facts, Failure, Longest, Report, page, render
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from gigq import JobQueue, Worker, Workflow, current_job, task

TESTS = {"test", "tests", "idle_test"}
FOREIGN = {"site-packages", "dist-packages", "__pycache__"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
UNFINISHED = ("pending", "running")
COUNTED = ("lines", "code", "classes", "functions", "methods", "async_functions")

# --- what is counted: plain functions, no queue in sight ----------------------------------------------------


def modules_of(root: Path, *, tests: bool = False, limit: int | None = None) -> dict[str, str]:
    """The modules below a folder, as file -> dotted name, in order of the file's name."""
    skip = FOREIGN if tests else FOREIGN | TESTS
    files = sorted(path.relative_to(root) for path in root.rglob("*.py"))
    kept = [file for file in files if skip.isdisjoint(file.parts[:-1])][:limit]
    return {file.as_posix(): ".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in kept}


def facts_of(source: bytes, module: str, file: str) -> Facts:
    """Count one module.

    Raises:
        SyntaxError: it is not Python of this version.
    """
    tree = ast.parse(source, filename=file)
    package = module.partition(".")[0]
    counts: Counter[str] = Counter()
    longest: Longest | None = None
    imports: set[str] = set()
    todo: list[tuple[ast.AST, str, bool]] = [(tree, "", False)]
    while todo:  # a list and no recursion: some expressions of the library are deeper than Python's stack
        node, scope, in_class = todo.pop()
        if isinstance(node, ast.ClassDef):
            counts["classes"] += 1
            scope, in_class = f"{scope}{node.name}.", True
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            counts["methods" if in_class else "functions"] += 1
            counts["async_functions"] += isinstance(node, ast.AsyncFunctionDef)
            size = len(_span(node))
            if longest is None or (size, -node.lineno) > (longest["lines"], -longest["line"]):
                longest = {"name": f"{module}.{scope}{node.name}", "line": node.lineno, "lines": size}
            scope, in_class = f"{scope}{node.name}.", False
        elif isinstance(node, ast.Import):
            imports.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imports.add((node.module or "").partition(".")[0] if node.level == 0 else package)
        todo.extend((child, scope, in_class) for child in ast.iter_child_nodes(node))
    return {
        "module": module,
        "file": file,
        "lines": len(source.splitlines()),
        "code": _lines_of_code(source, tree),
        "functions": counts["functions"],
        "methods": counts["methods"],
        "async_functions": counts["async_functions"],
        "classes": counts["classes"],
        "longest": longest,
        "imports": sorted(imports - {package}),
    }


def _lines_of_code(source: bytes, tree: ast.Module) -> int:
    """Lines that are neither blank nor only a comment nor part of a docstring."""
    lines = source.removeprefix(b"\xef\xbb\xbf").splitlines()
    code = {number for number, line in enumerate(lines, 1) if line.strip() and line.lstrip()[:1] != b"#"}
    docstrings: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(
            node, ast.Constant | ast.JoinedStr
        ):  # in a long text, a # or a blank line is no comment
            code.update(_span(node))
        elif isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            text = node.body[0]
            shared = lines[text.lineno - 1][: text.col_offset].strip()  # class Empty: "on one line"
            docstrings.update(_span(text)[1 if shared else 0 :])
    return len(code - docstrings)


def _span(node: ast.expr | ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def report_of(title: str, found: list[Facts], failures: list[Failure]) -> Report:
    """Add up what is known about all modules."""
    imported = Counter(name for facts in found for name in facts["imports"])
    totals = {key: sum(facts[key] for facts in found) for key in COUNTED}  # type: ignore[literal-required]
    return {
        "title": title,
        "totals": {"modules": len(found), **totals},
        "imported": dict(imported.most_common()),
        "modules": found,
        "failures": failures,
    }


# --- the jobs -----------------------------------------------------------------------------------------------


@task(timeout=60)
def analyse(root: str, file: str, module: str) -> Facts:
    """One module. A file that does not parse fails this job, and no other."""
    return facts_of(Path(root, file).read_bytes(), module, file)


@task(timeout=60, on_parent_failure="run")
def merge(selection: dict[str, Any], modules: list[str], parent_results: dict[str, Facts | None]) -> Report:
    """All modules together; `modules` has their names. The result of a parent that failed is None."""
    found = [facts for facts in parent_results.values() if facts]
    failures: list[Failure] = []
    for module, parent in zip(modules, current_job().parents, strict=True):
        if parent.status != "completed":
            why = (parent.error or f"its job was {parent.status}").partition("\n")[0]
            failures.append({"module": module, "error": why})
    return report_of(selection["title"], found, failures)


# --- the workflow: planned once, found again in its file ----------------------------------------------------


class Census(NamedTuple):
    """A planned census, as its database remembers it."""

    merge: dict[str, Any]
    jobs: dict[str, dict[str, Any]]
    """The other jobs by id, in the order of their modules."""

    @property
    def unfinished(self) -> bool:
        return self.merge["status"] in UNFINISHED

    @property
    def settled(self) -> int:
        """Modules that need no more work, whether they could be analysed or not."""
        return sum(job["status"] not in UNFINISHED for job in self.jobs.values())


def plan(queue: JobQueue, selection: dict[str, Any]) -> None:
    """Submit a job for each module and one that depends on them all, in one transaction."""
    root = Path(selection["root"])
    modules = modules_of(root, tests=selection["tests"], limit=selection["limit"])
    if not modules:
        raise SystemExit(f"There is no module in {root}.")
    workflow = Workflow("census")
    jobs = []
    for file, module in modules.items():
        jobs.append(workflow.add_task(analyse, {"root": str(root), "file": file, "module": module}))
        jobs[-1].name = module
    workflow.add_task(merge, {"selection": selection, "modules": list(modules.values())}, depends_on=jobs)
    workflow.submit_all(queue)


def find(queue: JobQueue) -> Census:
    """The census in this file.

    Raises:
        LookupError: there is none yet.
        SystemExit: the file is used for something else, which is no place for ours.
    """
    jobs = {job["id"]: job for job in queue.list_jobs(limit=1_000_000)}
    merges = [job for job in jobs.values() if job["function_name"] == "merge"]
    if not jobs:
        raise LookupError
    if len(merges) != 1 or len(merges[0]["dependencies"]) + 1 != len(jobs):
        raise SystemExit(f"{queue.db_path} holds other jobs than a census. Choose another file with --db.")
    return Census(merges[0], {job_id: jobs[job_id] for job_id in merges[0]["dependencies"]})


def open_census(args: argparse.Namespace, console: Console) -> tuple[JobQueue, Census]:
    """Find the census in the file, or plan it."""
    root = Path(args.root or sysconfig.get_path("stdlib")).resolve()
    python = platform.python_version()
    title = f"{root.name}, counted" if args.root else f"The standard library of Python {python}, counted"
    chosen = {"root": str(root), "tests": args.tests, "limit": args.limit}
    selection = {"title": title, "python": python, **chosen}
    args.db.parent.mkdir(parents=True, exist_ok=True)
    queue = JobQueue(str(args.db))
    if args.fresh and args.db.exists():
        with suppress(LookupError):
            find(queue)  # or refuse: somebody else's jobs are not ours to forget
        queue.close()
        for ending in ("", "-wal", "-shm", "-journal", "-lock"):
            args.db.with_name(args.db.name + ending).unlink(missing_ok=True)
        queue = JobQueue(str(args.db))
    try:
        census = find(queue)
    except LookupError:
        plan(queue, selection)
        census = find(queue)
        console.print(f"Planned {len(census.jobs):,} jobs, one a module, and one that merges: {args.db}")
        return queue, census
    if census.merge["params"]["selection"] != selection:
        raise SystemExit(f"{args.db} holds another census. Start over with --fresh, or choose another --db.")
    if census.unfinished:
        done = f"{census.settled:,} of {len(census.jobs):,} modules were already done"
        console.print(f"{done}; going on with the rest.")
    else:
        done = f"All {len(census.jobs):,} modules were already done"
        console.print(f"{done}; nothing to do. --fresh starts over.")
    return queue, census


# --- the run ------------------------------------------------------------------------------------------------


def work(queue: JobQueue, census: Census, concurrency: int, console: Console) -> None:
    """Run what is missing, with a bar.

    Raises:
        KeyboardInterrupt: after the jobs that were running have ended.
    """
    worker = Worker(str(queue.db_path), concurrency=concurrency)
    thread = threading.Thread(target=worker.start, name="census worker", daemon=True)
    thread.start()
    began = time.monotonic()
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed, {task.fields[running]} running"),
        TextColumn("{task.fields[rate]:.0f} a second"),
        TimeElapsedColumn(),
    )
    try:
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task(
                "", total=len(census.jobs), completed=census.settled, failed=0, running=0, rate=0.0
            )
            while thread.is_alive():
                stats = queue.stats()
                failed = stats["failed"] + stats["timeout"]
                settled = min(stats["completed"] + failed, len(census.jobs))
                rate = (settled - census.settled) / (time.monotonic() - began)
                progress.update(bar, completed=settled, failed=failed, running=stats["running"], rate=rate)
                if stats["pending"] + stats["running"] == 0:
                    break
                time.sleep(0.1)
    except KeyboardInterrupt:
        worker.stop()
        console.print("Stopping as soon as the running jobs have ended. Ctrl-C again does not wait for them.")
        raise
    finally:
        worker.stop()
        with suppress(KeyboardInterrupt):  # what was running then runs again
            thread.join()


def finish(queue: JobQueue, census: Census, args: argparse.Namespace, console: Console) -> int:
    """Show the report, write its files, and say what to try next."""
    merged = queue.get_status(census.merge["id"])
    if merged["status"] != "completed":
        console.print(f"The report could not be made, its job is {merged['status']}.", style="red")
        console.print(Text(merged["error"] or ""))
        return 1
    report: Report = merged["result"]
    ids = {job["name"]: job_id for job_id, job in census.jobs.items()}
    args.out.mkdir(parents=True, exist_ok=True)
    as_json, as_html = args.out / "census.json", args.out / "census.html"
    as_json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    as_html.write_text(page(report), encoding="utf-8")
    console.print(render(report))

    example = ids[(report["failures"] or report["modules"])[0]["module"]]
    gigq = f"{_tool('gigq')} --db {shlex.quote(str(args.db))}"
    console.print("Try next", style="bold")
    for why, command in (
        ("see the map", f"{_tool('python')} -m webbrowser {shlex.quote(str(as_html))}"),
        ("see what is in the queue", f"{gigq} stats"),
        ("the newest jobs", f"{gigq} list --limit 5"),
        ("one of them", f"{gigq} status {example} --show-result"),
        ("count again, and kill -9 it", _again("--fresh")),
        ("it goes on where it was", _again()),
    ):
        console.print(Text.assemble(f"  {why:<29}", (command, "cyan")), soft_wrap=True)
    return 0


def _again(*more: str) -> str:
    return f"{_tool('python')} {shlex.join([*(arg for arg in sys.argv if arg != '--fresh'), *more])}"


def _tool(name: str) -> str:
    """How to type a program of this Python: by its name, if that is what the shell would find."""
    beside = Path(sys.executable).with_name(name)
    return name if shutil.which(name) == str(beside) or not beside.exists() else os.path.relpath(beside)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Count Python's standard library, a job for each module.")
    file, cores = Path("demo/census.db"), os.cpu_count() or 1
    parser.add_argument("--db", type=Path, default=file, help="the queue's file (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the report (%(default)s)")
    parser.add_argument("--concurrency", type=int, default=cores, help="jobs at once (%(default)s)")
    parser.add_argument("--limit", type=int, help="only the first so many modules")
    parser.add_argument("--tests", action="store_true", help="the library's own tests, too")
    parser.add_argument("--root", type=Path, help="another folder than the standard library")
    parser.add_argument("--fresh", action="store_true", help="forget what is done and start over")
    args = parser.parse_args()
    console = Console(highlight=False)
    warnings.simplefilter("ignore", SyntaxWarning)  # the sources are counted here, not judged
    try:
        queue, census = open_census(args, console)
        if census.unfinished:
            work(queue, census, args.concurrency, console)
        return finish(queue, census, args, console)
    except KeyboardInterrupt:
        console.print(f"\nStopped. Nothing is lost; this goes on where it was:\n  {_again()}", soft_wrap=True)
        return 130


if __name__ == "__main__":
    sys.exit(main())
