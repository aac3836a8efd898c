"""What the loop claims, holds and gives back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from jobs import add, cancelled_late, echo, fail, merge, nothing, wait_for
from processes import begun, wait_until, waiting

from gigq import Job, JobQueue, Worker, status
from gigq.errors import StoreFull
from gigq.lease import Lease
from gigq.store import Store, watch
from gigq.store.claiming import Claim
from gigq.worker import loop, waker
from gigq.worker.seat import Seat


@contextmanager
def running(worker: Worker) -> Iterator[None]:
    thread = threading.Thread(target=worker.start)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(60)
        assert not thread.is_alive()


def test_large_params_are_read_when_their_job_starts(db: str) -> None:
    queue = JobQueue(db)
    ids = queue.submit_many([Job("large", echo, params={"value": "x" * 900_000}) for _ in range(40)])
    claimed = queue._store.exchange([], _claim(queue, 40), queue.clock.now()).claimed
    assert [lease.params for lease in claimed] == [None] * 40, "nothing large travels with a claim"
    other = JobQueue(db)
    last = other.submit(Job("large", echo, params={"value": "y" * 900_000}))
    with running(Worker(db)):
        wait_until(lambda: other.get_status(last)["status"] == "completed", "it comes to pass")
    assert other.get_result(last) == "y" * 900_000
    assert len(ids) == 40


def _claim(queue: JobQueue, want: int) -> Claim:
    return Claim(Seat(queue._store, "a worker", queue.clock).number, want)


def test_a_retry_that_is_due_while_all_slots_are_busy_does_not_make_the_loop_spin(
    db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    real = waker.Waker.sleep

    def counted(self: waker.Waker, seconds: float) -> bool:
        slept.append(seconds)
        return real(self, seconds)

    monkeypatch.setattr(waker.Waker, "sleep", counted)
    queue = JobQueue(db)
    until = tmp_path / "until"
    retried = queue.submit(Job("retried", fail, retry_delay=0.05, max_attempts=2, priority=1))
    queue.submit(Job("busy", wait_for, params={"path": str(until)}))
    with running(Worker(db)):
        wait_until(
            lambda: queue.stats()["running"] == 1 and queue.get_status(retried)["attempts"] == 1,
            "it comes to pass",
        )
        slept.clear()
        assert not threading.Event().wait(0.5)
        assert len(slept) < 25, "it wakes for the upkeep, and not for what it cannot start"
        until.touch()
        wait_until(lambda: queue.get_status(retried)["status"] == "failed", "it comes to pass")


def test_a_job_that_must_run_alone_holds_up_nobody_for_long(
    db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_SOLO_PATIENCE", 200_000_000)
    monkeypatch.setattr(loop, "_SOLO_AGAIN", 400_000)
    queue = JobQueue(db)
    until = tmp_path / "until"
    queue.submit(Job("long", wait_for, params={"path": str(until)}))
    crashed = Job("crashed before", nothing)
    with running(Worker(db, concurrency=2)):
        wait_until(lambda: queue.stats()["running"] == 1, "it comes to pass")
        queue.submit(crashed)
        queue._store  # noqa: B018 - opened
        with queue._store._writing() as tx:
            tx._execute("UPDATE job SET crashes = 1 WHERE id = ? AND status = 'pending'", (crashed.id,))
        others = queue.submit_many([Job("other", nothing) for _ in range(5)])
        wait_until(
            lambda: all(queue.get_status(other)["status"] == "completed" for other in others),
            "it comes to pass",
        )
        assert queue.get_status(crashed.id)["attempts"] <= 1
        until.touch()
        wait_until(lambda: queue.get_status(crashed.id)["status"] == "completed", "it comes to pass")
    assert [run["status"] for run in queue.get_status(crashed.id)["executions"]] == ["completed"]


def test_a_job_that_must_run_alone_starts_when_the_others_have_ended(
    db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_SOLO_PATIENCE", 10**18)
    queue = JobQueue(db)
    until = tmp_path / "until"
    queue.submit(waiting(until))
    crashed = queue.submit(Job("crashed before", nothing))
    with queue._store._writing() as tx:
        tx._execute("UPDATE job SET crashes = 1 WHERE id = ?", (crashed,))
    with running(Worker(db, concurrency=2)):
        wait_until(lambda: begun(until), "the other runs")
        until.touch()
        wait_until(lambda: queue.get_status(crashed)["status"] == "completed", "it comes to pass")


def test_a_coroutine_past_its_timeout_is_cancelled(db: str, tmp_path: Path) -> None:
    queue = JobQueue(db)
    told = tmp_path / "told"
    job_id = queue.submit(
        Job("slow", cancelled_late, params={"path": str(told)}, timeout=0.2, max_attempts=1)
    )
    with running(Worker(db)):
        wait_until(told.exists, "it comes to pass")
        wait_until(lambda: queue.get_status(job_id)["status"] == "timeout", "it comes to pass")
    assert told.read_text() == "cancelled\n"


def test_a_seat_with_an_open_run_is_left_to_the_rescue(db: str) -> None:
    queue = JobQueue(db)
    job_id = queue.submit(Job("add", add, params={"a": 1, "b": 2}))
    lost = Worker(db)
    assert lost._claim_job() is not None
    lost.close()
    assert Worker(db).process_one()
    assert queue.get_result(job_id) == 3


def test_a_worker_that_ran_nothing_leaves_no_row(db: str) -> None:
    queue = JobQueue(db)
    for _ in range(3):
        worker = Worker(db)
        assert not worker.process_one()
        worker.close()
    assert queue._get_connection().execute("SELECT count(*) FROM worker").fetchone()[0] == 0


def test_what_is_held_for_many_modules_hides_no_other(db: str) -> None:
    queue = JobQueue(db)
    queue.submit_many([Job("nowhere", f"no_such_module_{n}.run") for n in range(250)])
    here = queue.submit(Job("here", "zz_late_module.run", max_attempts=1))
    lacking = Worker(db)
    while lacking.process_one():
        pass
    lacking.close()
    assert queue.get_status(here)["held_by"] == "import:zz_late_module"
    import sys
    import types

    module = types.ModuleType("zz_late_module")
    module.run = nothing  # type: ignore[attr-defined]
    sys.modules["zz_late_module"] = module
    try:
        with running(Worker(db)):
            wait_until(lambda: queue.get_status(here)["status"] == "completed", "it comes to pass")
    finally:
        del sys.modules["zz_late_module"]


def test_a_late_thread_does_not_end_the_mark_of_another_run(db: str) -> None:
    from gigq.ids import mark_key

    marks = JobQueue(db)._store.engine.sidecar.marks(0)
    first, second = mark_key("0" * 16 + "-1"), mark_key("0" * 16 + "-2")
    marks.write(0, first, 10)
    marks.write(0, second, 20)
    marks.finish(0, first)
    assert not marks.read()[second].is_over
    marks.finish(0, second)
    assert marks.read()[second].is_over


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_job_whose_params_cannot_be_read_has_not_begun(
    db: str, monkeypatch: pytest.MonkeyPatch, executor: Any
) -> None:
    queue = JobQueue(db)
    real, broken = Store.params, [True]

    def params(self: Store, lease: Lease) -> str:
        if broken[0]:
            raise StoreFull("the disk refused")
        return real(self, lease)

    monkeypatch.setattr(Store, "params", params)
    monkeypatch.setattr(status, "_HINDERED", 300_000)
    job = queue.submit(Job("large", echo, params={"value": "x" * 100_000}, max_attempts=1))
    with running(Worker(db, executor=executor)):
        wait_until(lambda: queue.get_status(job)["retry_after"] is not None, "it is put off")
        record = queue.get_status(job)
        assert (record["status"], record["attempts"], record["executions"]) == ("pending", 0, [])
        broken.clear()
        broken.append(False)
        wait_until(lambda: queue.get_status(job)["status"] == "completed", "it comes to pass")


def test_process_one_does_not_charge_for_parents_that_cannot_be_read(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = JobQueue(db)
    parent = queue.submit(Job("parent", nothing))
    job = queue.submit(Job("merge", merge, dependencies=[parent], max_attempts=1))
    worker = Worker(db)
    assert worker.process_one()

    def parents(*_: object) -> NoReturn:
        raise StoreFull("the disk refused")

    monkeypatch.setattr(Store, "parents", parents)
    assert worker.process_one()
    record = queue.get_status(job)
    assert (record["status"], record["attempts"], record["executions"]) == ("pending", 0, [])
    assert record["retry_after"] is not None
    worker.close()


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_where_no_bell_is_heard_a_worker_looks_by_itself(
    db: str, monkeypatch: pytest.MonkeyPatch, executor: Any
) -> None:
    monkeypatch.setattr(watch, "_inotify", lambda _: None)
    monkeypatch.delattr("select.kqueue", raising=False)
    queue = JobQueue(db)
    first = queue.submit(Job("first", nothing))
    with running(Worker(db, executor=executor, polling_interval=100_000)):
        wait_until(lambda: queue.get_status(first)["status"] == "completed", "it is at work")
        second = queue.submit(Job("second", nothing))
        wait_until(lambda: queue.get_status(second)["status"] == "completed", "it has seen the other")
