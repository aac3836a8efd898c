"""K24: the guards are taken out one at a time. A rig that does not notice would prove nothing."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

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


# -- the executor ----------------------------------------------------------------------------------------------

CHILDREN: dict[str, Any] = {"executor": "process"}


def test_without_start_marks_in_the_children_a_crash_that_nobody_pays_for_is_noticed(rig: Rig) -> None:
    """A job that kills its process seems never to have started, and so runs for ever."""
    job = rig.submit(torture_jobs.die, params={"how": "kill"})
    mutant = rig.worker(child=["silent starts"], **CHILDREN)
    rig.await_line("start", job, 6)  # twice as often as max_crashes allows
    assert rig.status(job)["crashes"] == 0
    assert not rig.status(job)["executions"][:-1]
    mutant.signal(signal.SIGKILL)
    mutant.wait()
    assert_noticed(rig, "I1", "I4")


@pytest.mark.parametrize("child", [[], ["late results"]])
def test_results_written_after_the_next_start_are_noticed(rig: Rig, child: list[str]) -> None:
    """Then the death of a child costs more than the run that its mark shows: finished ones run again."""
    good: list[str] = []
    killers: list[str] = []
    for number in range(600):
        good.append(rig.submit(torture_jobs.work_or_die, params={"dies": False}))
        if number % 77 == 76:  # one at the beginning of a batch would cost nobody anything
            killers.append(rig.submit(torture_jobs.work_or_die, params={"dies": True}, max_crashes=1))
    worker = rig.worker(child=child, **CHILDREN)
    rig.await_all_ended()
    rig.stop(worker)
    seen = rig.evidence()
    again = [job for job in good if len(seen.starts[job]) > 1]
    print(f"{child}: {len(again)} finished jobs ran again")
    assert {len(seen.starts[killer]) for killer in killers} == {1}
    if child:
        assert again
        assert_noticed(rig, "I4")
    else:
        assert not again


@pytest.mark.parametrize("without", [[], ["question"]])
def test_giving_back_without_asking_is_noticed(rig: Rig, without: list[str]) -> None:
    """What was sent to a child is claimed by another worker, while the child goes on to run it."""
    many = [rig.submit(torture_jobs.work, params={"milliseconds": 1}) for _ in range(600)]
    # Nobody knows that this one takes long, so others wait behind it in its child.
    slow = rig.submit(torture_jobs.work, params={"milliseconds": 500})
    many += [rig.submit(torture_jobs.work, params={"milliseconds": 1}) for _ in range(600)]
    workers = [rig.worker(without=without, **CHILDREN) for _ in range(2)]
    rig.await_line("end", slow)
    rig.await_all_ended()
    rig.stop(*workers)
    violations = rig.violations()
    print(f"{without}: {len(violations)} violations, {violations[:3]}")
    assert bool(violations) is bool(without), rig.told(str(violations[:5]))
    assert len(many) == 1200
