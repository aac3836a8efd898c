"""K6: jobs that end their own process. Workers are started again, as a supervisor would; only the killers fail."""

from __future__ import annotations

from typing import Any

import pytest
import torture_jobs
from rig import Process, Rig, wait_until

WAYS = ("kill", "exit", "segfault")
"""SIGKILL is also how the kernel ends a process that takes too much memory."""


def bury(rig: Rig, process: Process) -> None:
    """Put on record that a process was ended by its own job."""
    process.wait()
    rig.record(process, max(line.at for line in rig.lines() if line.pid == process.pid), "its own job")


def work_until_all_ended(rig: Rig, **options: Any) -> int:
    """Keep one worker alive until no job is left; how many it took."""
    worker = rig.worker(**options)
    number = 1

    def ended() -> bool:
        nonlocal worker, number
        if not worker.is_alive:
            bury(rig, worker)
            worker = rig.worker(**options)
            number += 1
        stats = rig.queue.stats()
        return stats["pending"] + stats["running"] == 0

    wait_until(ended, "all jobs to end", 240)
    if worker.is_alive:
        rig.stop(worker)
    return number


def assert_killers_fail_and_nobody_else(rig: Rig, innocents: int) -> None:
    jobs: list[str] = []
    killers: list[str] = []
    for number in range(innocents):
        jobs.append(rig.submit(torture_jobs.work, params={"milliseconds": rig.dice.uniform(0, 5)}))
        if number % (innocents // len(WAYS)) == innocents // len(WAYS) // 2:
            killers.append(rig.submit(torture_jobs.die, params={"how": WAYS[len(killers)]}))
    workers = work_until_all_ended(rig)
    rig.judge()
    seen = rig.evidence()
    for killer in killers:
        row = seen.jobs[killer]
        assert row["status"] == "failed"
        assert row["crashes"] == 3
        assert row["attempts"] == 0
        assert "died while it ran" in row["error"]
        assert "gave up after 3 crashes (max_crashes)" in row["error"]
        assert len(seen.starts[killer]) == 3
    for job in jobs:
        row = seen.jobs[job]
        assert (row["status"], row["attempts"], row["crashes"]) == ("completed", 1, 0), rig.told(str(row))
    assert workers == 1 + 3 * len(killers)


def test_jobs_that_end_their_process_fail_after_three_crashes_and_cost_the_others_nothing(rig: Rig) -> None:
    assert_killers_fail_and_nobody_else(rig, innocents=150)


@pytest.mark.torture
def test_a_thousand_others_are_not_charged_for_the_killers(rig: Rig) -> None:
    assert_killers_fail_and_nobody_else(rig, innocents=1_000)


@pytest.mark.parametrize("how", WAYS)
def test_max_attempts_of_one_means_one_start_ever(rig: Rig, how: str) -> None:
    killer = rig.submit(torture_jobs.die, params={"how": how}, max_attempts=1)
    assert work_until_all_ended(rig) in (1, 2)
    shown = rig.status(killer)
    assert shown["status"] == "failed"
    assert "died while it ran; not started again because max_attempts=1" in shown["error"]
    assert len(rig.starts(killer)) == 1
    rig.judge()


def test_max_crashes_can_be_chosen(rig: Rig) -> None:
    killer = rig.submit(torture_jobs.die, params={"how": "exit"}, max_crashes=1)
    work_until_all_ended(rig)
    shown = rig.status(killer)
    assert (shown["status"], shown["crashes"]) == ("failed", 1)
    assert "gave up after 1 crash" in shown["error"]
    assert len(rig.starts(killer)) == 1


def test_a_job_whose_process_died_runs_alone_so_that_an_innocent_clears_its_name(rig: Rig) -> None:
    go = rig.folder / "go"
    bystanders = [rig.submit(torture_jobs.slow_at_first, params={"seconds": 30}) for _ in range(3)]
    killer = rig.submit(torture_jobs.die, params={"how": "kill", "after": str(go)})
    worker = rig.worker(concurrency=4)
    for job in [*bystanders, killer]:
        rig.await_line("start", job)
    more = [rig.submit(torture_jobs.work, params={"milliseconds": 20}) for _ in range(20)]
    go.touch()
    wait_until(lambda: not worker.is_alive, "the worker to be killed")
    bury(rig, worker)
    work_until_all_ended(rig, concurrency=4)
    rig.judge()
    seen = rig.evidence()
    assert seen.jobs[killer]["status"] == "failed"
    for job in bystanders:
        assert (seen.jobs[job]["status"], seen.jobs[job]["crashes"]) == ("completed", 1)
    for job in more:
        assert (seen.jobs[job]["status"], seen.jobs[job]["crashes"]) == ("completed", 0)
    for job in [*bystanders, killer]:
        for start in seen.starts[job][1:]:
            assert not beside(seen.lines, start), rig.told(f"{job} did not run alone")


def beside(lines: list[Any], start: Any) -> list[Any]:
    """Runs of the same process that were under way at a start, or began before its end."""
    end = next((line.at for line in lines if line.what == "end" and line.execution == start.execution), None)
    until = end if end is not None else max(line.at for line in lines if line.pid == start.pid)
    ends = {line.execution: line.at for line in lines if line.what in ("end", "fail")}
    return [
        line
        for line in lines
        if line.what == "start"
        and line.pid == start.pid
        and line.execution != start.execution
        and line.at < until
        and ends.get(line.execution, until) > start.at
    ]
