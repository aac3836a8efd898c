"""K24: the guards are taken out one at a time. A rig that does not notice would prove nothing."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torture_jobs
import tracer
from contention import contend
from rig import QUICK, Rig, wait_until

pytestmark = pytest.mark.torture


def assert_noticed(rig: Rig, *laws: str) -> None:
    """The oracle has something to say, and it is about these laws."""
    violations = wait_until(rig.violations, "the oracle to notice")
    print(*violations, sep="\n")
    assert {violation.split()[0] for violation in violations} & set(laws), violations


def end_all(rig: Rig) -> None:
    for process in rig.processes:
        if process.is_alive:
            process.signal(signal.SIGKILL)
            process.wait()


def test_without_the_fence_a_late_worker_is_noticed(rig: Rig) -> None:
    workers = [rig.worker(without=["fence"], **QUICK) for _ in range(2)]
    for worker in workers:
        rig.await_up(worker)
    job = rig.submit(torture_jobs.slow_at_first, params={"seconds": 1.2}, timeout=1.0)
    first = rig.await_line("start", job)
    frozen = next(worker for worker in workers if worker.pid == first.pid)
    frozen.signal(signal.SIGSTOP)
    rig.await_status(job, "completed")
    frozen.signal(signal.SIGCONT)
    wait_until(
        lambda: rig.status(job)["status"] != "completed" or len(rig.lines("end")) > 1,
        "the late end to be told",
    )
    rig.await_all_ended()
    end_all(rig)
    assert_noticed(rig, "I4", "I6", "I7")


def test_without_the_life_lock_a_false_death_is_noticed(rig: Rig) -> None:
    job = rig.submit(torture_jobs.wait_for, params={"path": str(rig.folder / "go")})
    worker = rig.worker()
    rig.await_line("start", job)
    mutant = rig.worker(without=["life"])
    rig.await_line("start", job, 2)
    (rig.folder / "go").touch()
    rig.await_all_ended()
    rig.stop(worker, mutant)
    assert_noticed(rig, "I4", "I5")


def test_without_the_start_marks_a_charge_for_nothing_is_noticed(rig: Rig) -> None:
    job = rig.submit(torture_jobs.work)
    struck = rig.worker(point="claim, after the commit")
    struck.wait()
    mutant = rig.worker(without=["marks"])
    shown = rig.await_status(job)
    rig.stop(mutant)
    # What test_failpoints.py demands of this point is no run in the history and no charge.
    assert [run["status"] for run in shown["executions"]] == ["crashed", "completed"]
    assert shown["crashes"] == 1


def test_without_the_parents_a_child_that_starts_too_early_is_noticed(rig: Rig) -> None:
    parent = rig.submit(torture_jobs.wait_for, params={"path": str(rig.folder / "go")})
    child = rig.submit(torture_jobs.work, dependencies=[parent])
    mutant = rig.worker(concurrency=2, without=["parents"])
    rig.await_status(child)
    (rig.folder / "go").touch()
    rig.await_all_ended()
    rig.stop(mutant)
    assert_noticed(rig, "I8")


def test_without_the_gate_unfair_waits_are_noticed(rig: Rig, make_rig: object) -> None:
    assert callable(make_rig)
    mutant = make_rig()
    ratios = {}
    for name, one, without in (("gate", rig, []), ("none", mutant, ["gate"])):
        found = contend(one, submitters=8, workers=2, seconds=6, without=without)
        print(name, found)
        ratios[name] = found["p99 ms"] / found["p50 ms"]
    assert ratios["none"] > 3 * ratios["gate"], rig.told(str(ratios))


@tracer.needed()
@pytest.mark.parametrize("without", [[], ["fsync"]])
def test_without_the_fsync_an_unsynced_acknowledgement_is_noticed(
    rig: Rig, tmp_path: Path, without: list[str]
) -> None:
    trace = tmp_path / "trace"
    orders = tracer.Orders(
        under=str(rig.folder), names=["/queue", "jobs.db", "jobs.db-wal"], record=str(trace)
    )
    submitter = rig.submitter(
        jobs=50,
        kind="plain",
        without=without,
        under=tracer.command(orders),
    )
    assert submitter.wait() == 0, submitter.said()
    acked = len(rig.lines("acked"))
    syncs = sum(event.call in ("fsync", "fdatasync") for event in tracer.await_events(trace))
    assert acked == 50
    # With the sync there is one for each acknowledgement at least; without it none but those of the beginning.
    assert (syncs >= acked) is (not without), f"{syncs} syncs for {acked} submits"
