"""``python -m benchmarks``: measure, print, and write JSON, a table and charts."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import cast, get_args

from rich.console import Console

from benchmarks import chart, machine, markdown, report, runner
from benchmarks.child import PROJECT
from benchmarks.peers.peer import Server
from benchmarks.peers.servers import Servers
from benchmarks.plan import Workload
from benchmarks.runner import Measured
from benchmarks.workloads import all_of_them

RESULTS = PROJECT / "benchmarks" / "results"
LOCAL = RESULTS / "local"
_QUICK_RUNS, _RUNS = 3, 5


def main() -> int:
    """1 if a sample failed or a job was not delivered exactly once; a missed goal is not a failure."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 160)
    wanted = _wanted(options.workload, all_of_them(quick=options.quick, servers=options.peers))
    if options.list:
        for workload in wanted:
            console.print(f"{workload.name:16} {workload.about}", highlight=False)
        return 0
    usual = _QUICK_RUNS if options.quick else _RUNS
    options.folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=options.folder))
    begin = time.monotonic()
    try:
        with Servers(options.folder) as servers:
            described = machine.describe(scratch)
            console.print(", ".join(f"{key} {value}" for key, value in described.items()), highlight=False)
            console.print()
            everything = [
                _measure(
                    workload,
                    options.runs or min(usual, workload.most_runs or usual),
                    scratch,
                    servers,
                    console,
                )
                for workload in wanted
            ]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    runs = options.runs or usual
    console.print(f"{runs} runs each or fewer, {time.monotonic() - begin:,.0f} s in all", highlight=False)
    form = "quick" if options.quick else "full"
    _write(RESULTS if options.publish else LOCAL, described, form, runs, everything)
    if options.publish:
        _publish(markdown.page(described, form, runs, everything))
    return int(any(series.trouble for measured in everything for series in measured.series))


def _measure(workload: Workload, runs: int, scratch: Path, servers: Servers, console: Console) -> Measured:
    begin = time.monotonic()
    with console.status(workload.name) as status:
        measured = runner.measure(workload, runs, scratch, servers, status.update)
    report.table(measured, console)
    console.print(f"  [dim]{time.monotonic() - begin:.0f} s[/]\n", highlight=False)
    return measured


def _write(
    folder: Path, described: dict[str, object], form: str, runs: int, everything: list[Measured]
) -> None:
    """``latest.json``, ``latest.md``, and the charts."""
    folder.mkdir(parents=True, exist_ok=True)
    found = report.as_json(described, form, everything)
    (folder / "latest.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "latest.md").write_text(f"# Figures\n\n{markdown.page(described, form, runs, everything)}")
    for file, drawn in chart.draw_all(everything).items():
        (folder / file).write_text(drawn)


def _publish(figures: str) -> None:
    page = PROJECT / "BENCHMARKS.md"
    page.write_text(markdown.put_into(page.read_text(), figures))


def _wanted(names: list[str], there: list[Workload]) -> list[Workload]:
    found = [one for one in there if not names or any(one.name.startswith(name) for name in names)]
    if not found:
        sys.exit(f"no workload begins with {', '.join(names)}; --list shows them")
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workload", nargs="*", help="beginnings of names; all of them if none is given")
    parser.add_argument("--quick", action="store_true", help=f"smaller, {_QUICK_RUNS} runs, under 5 minutes")
    parser.add_argument(
        "--runs", type=int, help=f"samples of each contender (default {_RUNS}, fewer of what takes long)"
    )
    parser.add_argument(
        "--peers",
        type=_servers,
        default=frozenset(),
        metavar="SERVERS",
        help="redis,postgres: measure the peers that need these too; the benchmark starts the servers",
    )
    parser.add_argument(
        "--publish", action="store_true", help="write to benchmarks/results and BENCHMARKS.md, not to local/"
    )
    parser.add_argument(
        "--folder", type=Path, default=LOCAL, help="where the databases are made: a real disk"
    )
    parser.add_argument("--list", action="store_true", help="show the workloads and end")
    options = parser.parse_args()
    if options.publish and options.workload:
        parser.error("--publish replaces all figures: name no workload")
    return options


def _servers(text: str) -> frozenset[Server]:
    words = [word for word in text.split(",") if word]
    if unknown := [word for word in words if word not in get_args(Server)]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(get_args(Server))}")
    return cast("frozenset[Server]", frozenset(words))


if __name__ == "__main__":
    sys.exit(main())
