"""Import: what ``import gigq`` costs beyond a bare Python."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.peers import gigq051
from benchmarks.plan import OURS, PEER, Contender, Quantity, Sample, Workload

_NOTHING = "pass"
_CODES = {
    "import": "import gigq",
    "worker": "import gigq; gigq.Worker",
    "queue": "import gigq; gigq.JobQueue(':memory:').submit(gigq.Job('n', 'a.b'))",
}


def workloads(*, quick: bool) -> list[Workload]:
    times = {"times": 15 if quick else 31}
    return [
        Workload(
            "footprint-import",
            "import, in milliseconds above a bare Python that does nothing (median of pairs, in turns)",
            (
                Quantity("import", _CODES["import"], "ms", higher_is_better=False, reach=40),
                Quantity("worker", "and the worker", "ms", higher_is_better=False),
                Quantity("queue", "and a queue in memory, one job submitted", "ms", higher_is_better=False),
                Quantity("nothing", "(bare Python itself)", "ms", higher_is_better=False),
            ),
            (
                Contender(OURS, f"{__name__}:above_bare", times, "compiled modules, warm disk"),
                Contender(
                    PEER,
                    f"{__name__}:above_bare",
                    {**times, "without": ["queue"]},
                    gigq051.PROMISE,
                    peer=gigq051.PEER,
                ),
            ),
            most_runs=1 if quick else 3,
        )
    ]


def above_bare(folder: str, times: int, without: list[str] | None = None) -> Sample:
    codes = {key: code for key, code in _CODES.items() if key not in (without or [])}
    for code in codes.values():
        _milliseconds(code)  # compiles what is not yet
    bare: list[float] = []
    above: dict[str, list[float]] = {key: [] for key in codes}
    for _ in range(times):
        nothing = _milliseconds(_NOTHING)
        bare.append(nothing)
        for key, code in codes.items():
            above[key].append(_milliseconds(code) - nothing)
    values = {key: statistics.median(taken) for key, taken in above.items()}
    return Sample({**values, "nothing": statistics.median(bare)})


def _milliseconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
    return (time.perf_counter() - start) * 1e3
