"""Submitters at full speed beside workers, and what each of them got."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rig import Rig


def contend(
    rig: Rig, submitters: int, workers: int, seconds: float, without: Sequence[str] = ()
) -> dict[str, float]:
    """Everybody at once, for so long; what each submitter got."""
    working = [rig.worker(concurrency=2, without=[*without]) for _ in range(workers)]
    for worker in working:
        rig.await_up(worker)
    submitting = [
        rig.submitter(jobs=0, seconds=seconds, kind="plain", without=[*without]) for _ in range(submitters)
    ]
    for submitter in submitting:
        assert submitter.wait(seconds + 60) == 0, rig.told(submitter.said())
    rig.await_all_ended(120)
    rig.stop(*working)
    for process in (*submitting, *working):
        assert process.said() == "", rig.told(process.said())
    return shares(rig, [submitter.pid for submitter in submitting])


def shares(rig: Rig, pids: list[int]) -> dict[str, float]:
    """Within the time in which all of them were at it, since they do not start at the same moment."""
    acked = {pid: [line for line in rig.lines("acked") if line.pid == pid] for pid in pids}
    begin = max(lines[0].at for lines in acked.values())
    end = min(lines[-1].at for lines in acked.values())
    counts = [sum(begin <= line.at <= end for line in lines) for lines in acked.values()]
    waits = sorted(line.run / 1e6 for lines in acked.values() for line in lines)
    return {
        "seconds in common": (end - begin) / 1e9,
        "submits": sum(counts),
        "slowest over mean": min(counts) / statistics.mean(counts),
        "p50 ms": 1e3 * waits[len(waits) // 2],
        "p99 ms": 1e3 * waits[len(waits) * 99 // 100],
        "longest ms": 1e3 * waits[-1],
    }
