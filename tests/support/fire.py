"""Jobs under fire: workers, their children and submitters are killed at random moments of the work."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from ledger import Kill
from rig import Process, Rig


def torture(
    rig: Rig,
    jobs: int,
    kills: int,
    *,
    workers: int = 3,
    submitters: int = 2,
    spare_submitters: bool = False,
    **options: Any,
) -> dict[str, float]:
    """Run jobs of 1 to 20 ms under fire; each kill falls at a random moment of the work."""
    running: list[Process] = [rig.submitter(jobs=jobs // submitters) for _ in range(submitters)]
    running += [
        rig.worker(**{"concurrency": rig.dice.randint(2, 4), "upkeep_every": 1.0, **options})
        for _ in range(workers)
    ]
    moments = sorted(rig.dice.uniform(0.02, 0.9) * jobs for _ in range(kills))
    began = time.monotonic()
    for number, moment in enumerate(moments):
        rig.await_line("end", number=max(1, round(moment)), patience=600)
        # Submitters are soon done: every third kill is theirs while they are there.
        submitting = [p for p in running if p.role == "submitter" and p.is_alive and not spare_submitters]
        working = [p for p in running if p.role == "worker"]
        if (
            options.get("executor") == "process"
            and number % 3 == 1
            and rig.kill_child(rig.dice.choice(working))
        ):
            continue
        victim = rig.dice.choice(submitting if submitting and number % 3 == 0 else working)
        rig.kill(victim)
        running.remove(victim)
        running.append(rig.again(victim))
    for process in running:
        if process.role == "submitter":
            process.wait(600)
    rig.await_all_ended(600)
    seconds = time.monotonic() - began
    rig.stop(*(process for process in running if process.role == "worker"))
    return {"seconds": seconds, **figures(rig)}


def figures(rig: Rig) -> dict[str, float]:
    """What RELIABILITY.md tells of a torture."""
    seen = rig.evidence()
    lost = {
        run["id"] for runs in seen.runs.values() for run in runs if run["status"] in ("crashed", "released")
    }
    again = [
        (second.at - kill.after) / 1e9
        for starts in seen.starts.values()
        for first, second in pairwise(starts)
        for kill in seen.kills
        if first.execution in lost and kill.pid in (first.pid, first.worker) and kill.before <= second.at
    ]
    return {
        "jobs": len(seen.jobs),
        "kills": len(seen.kills),
        "children killed": sum("child" in kill.how for kill in seen.kills),
        "longest until a child's worker was whole": max(whole(rig), default=0.0),
        "workers killed": len(
            {kill.pid for kill in seen.kills} & {line.worker for line in rig.lines("start")}
        ),
        "started twice": len(again),
        "longest until started again": max(again, default=0.0),
        "crashes charged": sum(job["crashes"] for job in seen.jobs.values()),
        "not completed": sum(job["status"] != "completed" for job in seen.jobs.values()),
    }


def assert_reasons(rig: Rig) -> None:
    """What did not complete says why: the kills are no excuse for any other end."""
    for job in rig.evidence().jobs.values():
        error = job["error"] or ""
        if job["status"] == "failed":
            assert job["max_attempts"] == 1, rig.told(error)
            assert "not started again because max_attempts=1" in error, rig.told(error)
        elif job["status"] == "cancelled":
            assert error.startswith("parent "), rig.told(error)
        else:
            assert job["status"] == "completed", rig.told(str(job))


def whole(rig: Rig) -> list[float]:
    """For each child that was killed, seconds until a new one of its worker had started a job."""
    seconds = []
    starts = rig.lines("start")
    for kill in rig.kills:
        if "child of" in kill.how:
            worker = int(kill.how.split()[-1])
            known = {line.pid for line in starts if line.worker == worker and line.at < kill.after}
            new = [line.at for line in starts if line.worker == worker and line.pid not in known]
            if new:
                seconds.append((min(new) - kill.after) / 1e9)
    return seconds


def note_own_deaths(rig: Rig) -> int:
    """Put on record which children were ended by their own jobs, or for their sake: the history says so; how many."""
    seen = rig.evidence()
    starts = {line.execution: line for lines in seen.starts.values() for line in lines}
    known = {kill.pid for kill in rig.kills}
    deaths = 0
    for runs in seen.runs.values():
        for run in runs:
            start = starts.get(run["id"])
            words = ("while running", "out of memory", "another job in it did not stop")
            if start and start.pid not in known and any(word in (run["error"] or "") for word in words):
                known.add(start.pid)
                last = max(line.at for line in rig.lines() if line.pid == start.pid)
                rig.kills.append(Kill(start.pid, last, last + 60_000_000_000, "its own job"))
                deaths += 1
    return deaths
