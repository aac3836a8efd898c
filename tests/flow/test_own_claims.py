"""A worker that claims by SQL of its own sees only what may start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jobs
import pytest
from clocks import TurnedClock
from extensions import PrioritizedWorker

from gigq import Job, JobQueue, Worker
from gigq.clock import SYSTEM

MakeWorker = Callable[..., Worker]


@pytest.fixture
def own(queue: JobQueue) -> Any:
    """A worker on ``queue``, at the system's clock, which its SQL reads too."""
    queue.clock = SYSTEM
    made = []

    def make(**options: Any) -> Worker:
        made.append(PrioritizedWorker(queue, **options))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


def submit(to: JobQueue, name: str, **options: Any) -> str:
    return to.submit(Job(name, jobs.nothing, priority=60, **options))


def test_nothing_of_a_paused_or_a_full_queue(queue: JobQueue, own: MakeWorker) -> None:
    job = submit(queue, "one", queue="mail")
    queue.pause("mail")
    assert not own().process_one()
    queue.resume("mail")
    queue.limit("mail", 1)
    with queue._store.engine.writing() as connection:
        connection.execute("INSERT OR REPLACE INTO counts VALUES ('mail', 'running', 1)")
    assert not own().process_one()
    with queue._store.engine.writing() as connection:
        connection.execute("UPDATE counts SET n = 0 WHERE queue = 'mail' AND status = 'running'")
    assert own().process_one()
    assert queue.get_status(job)["status"] == "completed"
    assert queue.queues()[0]["jobs"]["total"] == queue.queues()[0]["jobs"]["completed"] == 1


def test_nothing_of_a_queue_that_it_does_not_serve(queue: JobQueue, own: MakeWorker) -> None:
    submit(queue, "one", queue="mail")
    assert not own(queues=["other"]).process_one()
    assert own(queues=["other", "*"]).process_one()
    submit(queue, "two", queue="mail")
    assert own(queues={"mail": 2}).process_one()


def test_nothing_that_has_expired(queue: JobQueue, own: MakeWorker) -> None:
    dead, missed = submit(queue, "one", expires="2001-01-01"), submit(queue, "two", deadline="2001-01-01")
    good = submit(queue, "three", expires=3600, deadline=3600)
    assert own().process_one()
    assert not own().process_one()
    found = [queue.get_status(job)["status"] for job in (dead, missed, good)]
    assert found == ["cancelled", "timeout", "completed"]
    with queue._store._reading() as tx:
        assert tx.value("next_end") is None


def test_a_due_job_is_seen_when_it_is_due(queue: JobQueue, own: MakeWorker, clock: TurnedClock) -> None:
    queue.clock = clock
    submit(queue, "one", delay=60)
    assert not own().process_one()
    clock.turn(60)
    assert own().process_one()
