"""K2: a process is killed at its N-th write or sync, whatever it was about."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import pytest
import torture_jobs
import tracer
from rig import Process, Rig, wait_until

pytestmark = tracer.needed()

CALLS = ["pwrite64", "fdatasync", "fsync", "ftruncate", "unlink"]
Strike = Callable[[Rig, int], bool]


def killed_at(rig: Rig, number: int) -> list[str]:
    """The n-th call on a file of the queue; on the ledger none."""
    return tracer.command(tracer.Orders(under=rig.home.as_posix(), calls=CALLS, at=number, how="kill"))


def finish(rig: Rig, struck: Process, since: int) -> bool:
    """Whatever the struck process has left, others bring to its end; whether it died at all."""
    died = not struck.is_alive
    if died:
        struck.wait()
        rig.record(struck, since, "killed at a call")
    else:
        rig.kill(struck)
    worker = rig.worker(concurrency=2)
    rig.await_all_ended()
    rig.stop(worker)
    rig.judge()
    return died


def strike_worker(rig: Rig, number: int) -> bool:
    """At a claim, a settle, or whatever else it writes. There is enough to do for so many calls."""
    rig.submit(torture_jobs.work)
    last: list[str] = []
    for n in range(5 + number // 10):  # one after the other, so that each is an exchange of its own
        function = torture_jobs.fail_first if n % 9 == 2 else torture_jobs.work
        last = [rig.submit(function, dependencies=last)]
    since = time.monotonic_ns()
    struck = rig.worker(under=killed_at(rig, number))

    def is_over() -> bool:
        stats = rig.queue.stats()
        return not struck.is_alive or stats["pending"] + stats["running"] == 0

    wait_until(is_over, rig.told("it to die, or to be done"))
    return finish(rig, struck, since)


def strike_submitter(rig: Rig, number: int) -> bool:
    """At first amid batches and graphs; then amid many single submits, of which each is a transaction."""
    since = time.monotonic_ns()
    how = {"kind": "mixed", "jobs": 30} if number <= 60 else {"kind": "plain", "jobs": number // 6}
    struck = rig.submitter(**how, under=killed_at(rig, number))
    code = struck.wait()
    assert code in (0, -9), rig.told(struck.said())
    finish(rig, struck, since)
    return code == -9


def strikes(make_rig: Callable[[], Rig], strike: Strike, numbers: Iterable[int]) -> int:
    """How many died."""
    died = 0
    for number in numbers:
        rig = make_rig()
        try:
            died += strike(rig, number)
        except AssertionError as error:
            raise AssertionError(f"at call {number}: {error}") from error
        rig.close()
    return died


@pytest.mark.parametrize("strike", [strike_worker, strike_submitter])
def test_a_process_killed_at_a_write_or_sync_loses_nothing(
    make_rig: Callable[[], Rig], strike: Strike
) -> None:
    assert strikes(make_rig, strike, [3, 19, 31]) == 3


@pytest.mark.torture
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("strike", [strike_worker, strike_submitter])
def test_a_process_killed_at_any_of_its_first_600_writes_and_syncs_loses_nothing(
    make_rig: Callable[[], Rig], strike: Strike
) -> None:
    died = strikes(make_rig, strike, range(1, 601))
    print(f"{strike.__name__}: killed at {died} of the first 600 writes and syncs")
    assert died > 500
