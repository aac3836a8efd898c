"""``python -m benchmarks``: measure, print, and perhaps write JSON."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from benchmarks import machine, report, runner
from benchmarks.child import PROJECT
from benchmarks.plan import Workload
from benchmarks.runner import Measured
from benchmarks.workloads import all_of_them

LOCAL = PROJECT / "benchmarks" / "results" / "local"
_QUICK_RUNS, _RUNS = 3, 5


def main() -> int:
    """1 if a sample failed or a job was not delivered exactly once; a missed goal is not a failure."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 160)
    wanted = _wanted(options.workload, all_of_them(quick=options.quick))
    if options.list:
        for workload in wanted:
            console.print(f"{workload.name:16} {workload.about}", highlight=False)
        return 0
    runs = options.runs or (_QUICK_RUNS if options.quick else _RUNS)
    options.folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=options.folder))
    begin = time.monotonic()
    try:
        described = machine.describe(scratch)
        console.print(", ".join(f"{key} {value}" for key, value in described.items()), highlight=False)
        console.print()
        everything = [_measure(workload, runs, scratch, console) for workload in wanted]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    console.print(f"{runs} runs each, {time.monotonic() - begin:,.0f} s in all", highlight=False)
    if options.json is not None:
        form = "quick" if options.quick else "full"
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report.as_json(described, form, everything), indent=1) + "\n")
    return int(any(series.trouble for measured in everything for series in measured.series))


def _measure(workload: Workload, runs: int, scratch: Path, console: Console) -> Measured:
    begin = time.monotonic()
    with console.status(workload.name) as status:
        measured = runner.measure(workload, runs, scratch, status.update)
    report.table(measured, console)
    console.print(f"  [dim]{time.monotonic() - begin:.0f} s[/]\n", highlight=False)
    return measured


def _wanted(names: list[str], there: list[Workload]) -> list[Workload]:
    found = [one for one in there if not names or any(one.name.startswith(name) for name in names)]
    if not found:
        sys.exit(f"no workload begins with {', '.join(names)}; --list shows them")
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("workload", nargs="*", help="beginnings of names; all of them if none is given")
    parser.add_argument("--quick", action="store_true", help=f"smaller, {_QUICK_RUNS} runs, under 5 minutes")
    parser.add_argument("--runs", type=int, help=f"samples of each contender (default {_RUNS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    parser.add_argument(
        "--folder", type=Path, default=LOCAL, help="where the databases are made: a real disk"
    )
    parser.add_argument("--list", action="store_true", help="show the workloads and end")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
