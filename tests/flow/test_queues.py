"""Queues: which of them a worker serves and in which order; paused, resumed and limited ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobs
import pytest
from clocks import TurnedClock
from processes import at_work, wait_until
from stores import Hands, new_job

from gigq import InvalidJob, Job, JobQueue, Worker, admin, task
from gigq.clock import SYSTEM, to_iso
from gigq.queues import Serving
from gigq.store import claiming
from gigq.store.claiming import Claim

MakeWorker = Callable[..., Worker]


def fill(queue: JobQueue, *names: str, **options: Any) -> None:
    """A job in each of these queues, which it has its name of."""
    queue.submit_many([Job(name, jobs.nothing, queue=name, **options) for name in names])


def run_all(queue: JobQueue, worker: Worker, clock: TurnedClock) -> list[str]:
    """Run all that the worker would; the queues in the order in which they had their turn."""
    before = queue.stats()["completed"]
    while worker.process_one():
        clock.turn(1)
    done = sorted(queue.list_jobs("completed"), key=lambda row: row["completed_at"])
    return [row["queue"] for row in done[before:]]


def counted(queue: JobQueue, name: str) -> dict[str, int]:
    """The jobs of a queue by status; those there are."""
    [row] = [row for row in queue.queues() if row["name"] == name]
    return {status: n for status, n in row["jobs"].items() if n}


# -- which jobs a worker takes -------------------------------------------------------------------------------------


def test_a_job_is_in_the_queue_it_was_given(queue: JobQueue) -> None:
    assert queue.get_status(queue.submit(Job("one", jobs.nothing)))["queue"] == "default"
    assert queue.get_status(queue.submit(Job("one", jobs.nothing, queue="mail")))["queue"] == "mail"
    made = task(queue="slow")(jobs.nothing)
    assert queue.get_status(made.submit(queue))["queue"] == "slow"
    assert [row["queue"] for row in queue.list_jobs()] == ["slow", "mail", "default"]
    assert [row["name"] for row in queue.queues()] == ["default", "mail", "slow"]


@pytest.mark.parametrize("name", ["*", "", 7, "a\x00b"])
def test_a_name_that_cannot_be_is_refused_and_nothing_written(queue: JobQueue, name: Any) -> None:
    with pytest.raises(InvalidJob, match="job 'one': queue: "):
        Job("one", jobs.nothing, queue=name)
    job = Job("one", jobs.nothing)
    job.queue = name
    with pytest.raises(InvalidJob, match="job 'one': queue: "):
        queue.submit_many([Job("good", jobs.nothing), job])
    assert queue.stats()["total"] == 0


def test_a_worker_that_names_no_queue_serves_all_as_if_they_were_one(
    queue: JobQueue, worker: Worker, clock: TurnedClock
) -> None:
    fill(queue, "a", "b", "a", "default")
    fill(queue, "b", "a", priority=5)
    assert run_all(queue, worker, clock) == ["b", "a", "a", "b", "a", "default"]


def test_a_worker_runs_only_what_it_serves(
    queue: JobQueue, make_worker: MakeWorker, clock: TurnedClock
) -> None:
    fill(queue, "mail", "other", "mail", "more", priority=3)
    assert run_all(queue, make_worker(queue, queues=["mail"]), clock) == ["mail", "mail"]
    assert run_all(queue, make_worker(queue, queues=["nobody's", "more"]), clock) == ["more"]
    assert counted(queue, "other") == {"pending": 1, "total": 1}


def test_queues_are_served_in_the_order_of_the_list(
    queue: JobQueue, make_worker: MakeWorker, clock: TurnedClock
) -> None:
    fill(queue, "x", "mail", "y", "last", "x", "mail", "first")
    fill(queue, "y", priority=9)
    worker = make_worker(queue, queues=["first", "mail", "*", "last"])
    assert run_all(queue, worker, clock) == ["first", "mail", "mail", "y", "x", "y", "x", "last"]


def test_queues_are_served_by_weight(queue: JobQueue, make_worker: MakeWorker, clock: TurnedClock) -> None:
    fill(queue, *["mail"] * 40, *["x", "y"] * 20)
    worker = make_worker(queue, queues={"mail": 3, "*": 1})
    worker._desk.serving._times = {"mail": 0.0, "*": 0.0}  # instead of by lot
    ran = run_all(queue, worker, clock)
    for start in range(0, 40, 4):
        assert ran[start : start + 4].count("mail") == 3
    assert set(ran[-20:]) == {"x", "y"}, "what is left when one has no more"


@pytest.mark.parametrize("queues", [["*", "mail"], {"*": 1, "mail": 1}, ["mail", "other"]])
def test_a_batch_may_be_of_several_queues(hands: Hands, queues: Any) -> None:
    hands.submit(*[new_job(f"{name} {n}", queue=name) for n in range(5) for name in ("mail", "other")])
    leases = hands.store.exchange([], Claim(1, 8, Serving(queues)), hands.clock.now()).claimed
    assert len({lease.id for lease in leases}) == len(leases) == 8
    assert len({lease.execution_id for lease in leases}) == 8
    for name in ("mail", "other"):
        of_one = [lease.id for lease in leases if lease.queue == name]
        assert of_one == [f"{name} {n}" for n in range(len(of_one))]
    assert len(hands.store.exchange([], Claim(1, 8, Serving(queues)), hands.clock.now()).claimed) == 2


@pytest.mark.parametrize(
    ("want", "want_async", "plain", "coroutines"),
    [(4, None, 2, 2), (3, 2, 3, 2), (0, 3, 0, 3), (3, 0, 3, 0), (0, 9, 0, 6), (9, 9, 5, 5)],
)
def test_kinds_are_wanted_of_several_queues_too(
    hands: Hands, want: int, want_async: int | None, plain: int, coroutines: int
) -> None:
    made = [new_job(f"{name} {kind} {n}", queue=name) for n in range(4) for name in "ab" for kind in (0, 1)]
    for job in made:
        job.is_async = int(job.id.split()[1])
    hands.store.submit(made, hands.clock.now())
    hands.store.limit("a", 2)
    claim = Claim(1, want, Serving(["a", "*"]), want_async=want_async)
    leases = hands.store.exchange([], claim, hands.clock.now()).claimed
    kinds = [lease.is_async for lease in leases]
    assert (kinds.count(0), kinds.count(1)) == (plain, coroutines)
    assert [lease.queue for lease in leases].count("a") == 2


def test_functions_that_a_worker_lacks_are_left_to_others_in_every_queue(hands: Hands) -> None:
    hands.submit(*[new_job(f"{name} {n}", queue=name) for n in range(2) for name in "ab"])
    for lease in hands.store.exchange([], Claim(1, 1, Serving(["a"])), hands.clock.now()).claimed:
        hands.settle(lease, "unavailable")
    assert hands.store.release_held("import:jobs", "nothing", None) == 1
    lacking = Claim(1, 9, Serving(), [("jobs", "nothing", None)])
    leases = hands.store.exchange([], lacking, hands.clock.now()).claimed
    assert [lease.id for lease in leases] == ["b 0", "a 1", "b 1"]


def test_queues_that_are_many_have_their_turn_some_at_a_time(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "_QUEUES", 3)
    hands.submit(*[new_job(f"{n}", queue=f"q{n}") for n in range(8)])
    serving, claimed = Serving(["q7", "*"]), []
    while leases := hands.store.exchange([], Claim(1, 2, serving), hands.clock.now()).claimed:
        claimed += [lease.id for lease in leases]
    assert claimed[0] == "7"
    assert sorted(claimed) == [f"{n}" for n in range(8)]


def test_a_claim_among_queues_looks_at_few_jobs_of_each(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "_FURTHEST", 10)
    hands.submit(*[new_job(f"{n}", queue=f"q{n % 5}", priority=n) for n in range(100)])
    leases = hands.store.exchange([], Claim(1, 50), hands.clock.now()).claimed
    assert [lease.id for lease in leases] == [f"{n}" for n in range(99, 89, -1)]


@pytest.mark.parametrize(
    ("queues", "shown"), [(None, None), (["*"], None), (["mail", "*"], ["mail", "*"]), ({"a": 2}, ["a"])]
)
def test_an_operator_sees_which_queues_a_worker_serves(
    queue: JobQueue, make_worker: MakeWorker, queues: Any, shown: list[str] | None
) -> None:
    make_worker(queue, queues=queues)._desk.seat()
    [seen] = admin.workers(queue)
    assert seen.queues == shown


# -- paused --------------------------------------------------------------------------------------------------------


def test_nothing_of_a_paused_queue_starts_until_it_is_resumed(
    queue: JobQueue, worker: Worker, clock: TurnedClock
) -> None:
    fill(queue, "mail", "other")
    since = to_iso(clock.now())
    assert queue.pause("mail", "spam wave") is True
    clock.turn(5)
    assert queue.pause("mail") is False
    [row] = [row for row in queue.queues() if row["name"] == "mail"]
    assert (row["paused_at"], row["reason"]) == (since, "spam wave")
    fill(queue, "mail")
    assert run_all(queue, worker, clock) == ["other"]
    assert queue.resume("mail") is True
    assert queue.resume("mail") is False
    [row] = [row for row in queue.queues() if row["name"] == "mail"]
    assert (row["paused_at"], row["reason"]) == (None, None)
    assert run_all(queue, worker, clock) == ["mail", "mail"]


def test_the_reason_is_that_of_the_last_who_gave_one(queue: JobQueue) -> None:
    queue.pause("mail", "one")
    queue.pause("mail", "two")
    assert queue.queues()[0]["reason"] == "two"
    queue.resume("mail")
    queue.pause("mail")
    assert queue.queues()[0]["reason"] is None


def test_settings_are_kept_in_the_database_and_leave_nothing_behind(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    one, two = JobQueue(path), JobQueue(path)
    one.pause("mail")
    one.limit("mail", 3)
    one.age("mail", 0.5)
    [row] = two.queues()
    assert (row["name"], row["concurrency"], row["ageing"]) == ("mail", 3, 0.5)
    assert row["paused_at"] is not None
    two.resume("mail")
    two.limit("mail", None)
    assert len(one.queues()) == 1
    two.age("mail", None)
    assert one.queues() == []


@pytest.mark.parametrize(
    "do",
    [
        lambda queue: queue.pause("*"),
        lambda queue: queue.pause("mail", "x" * 1001),
        lambda queue: queue.pause("mail", 7),
        lambda queue: queue.pause("mail", "a\x00b"),
        lambda queue: queue.resume(""),
        lambda queue: queue.limit("mail", 0),
        lambda queue: queue.limit("mail", True),
        lambda queue: queue.limit("mail", 1.5),
        lambda queue: queue.limit("mail", 2**31),
        lambda queue: queue.limit(None, 1),
        lambda queue: queue.age("mail", 0),
        lambda queue: queue.age("mail", -1),
        lambda queue: queue.age("mail", "60"),
        lambda queue: queue.age("*", 60),
    ],
)
def test_what_no_setting_can_be_is_refused(queue: JobQueue, do: Callable[[JobQueue], object]) -> None:
    with pytest.raises(InvalidJob, match=r"^(name|reason|concurrency|every): "):
        do(queue)
    assert queue.queues() == []


def test_a_worker_asleep_hears_that_a_queue_is_resumed(queue: JobQueue, make_worker: MakeWorker) -> None:
    queue.clock = SYSTEM
    queue.pause("mail")
    fill(queue, "mail")
    worker = make_worker(queue, polling_interval=3600)
    with at_work(worker):
        wait_until(lambda: worker._loop and not worker._loop._lanes.looks(), "it has looked")
        assert counted(queue, "mail") == {"pending": 1, "total": 1}
        queue.resume("mail")
        wait_until(lambda: counted(queue, "mail") == {"completed": 1, "total": 1}, "the job has run")


def test_jobs_that_may_not_start_cost_an_idle_worker_no_write_and_no_rest(
    queue: JobQueue, make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.clock = SYSTEM
    queue.pause("paused")
    queue.limit("full", 1)
    fill(queue, *["paused", "full", "others'", "full"] * 3)
    queue._store.exchange([], Claim(1, 1, Serving(["full"])), SYSTEM.now())
    written, turns = [], 0
    monkeypatch.setattr(type(queue._store), "exchange", lambda *_, **__: written.append("an exchange"))

    def count(_: bool) -> None:
        nonlocal turns
        turns += 1

    worker = make_worker(queue, polling_interval=3600, queues=["paused", "full"])
    worker.on_turn = count
    with at_work(worker):
        wait_until(lambda: worker._loop and not worker._loop._lanes.looks(), "it has looked")
        for _ in range(3):
            fill(queue, "paused", "full")
        before = turns
        threading.Event().wait(0.3)
        assert turns - before < 30
    assert written == []


def test_a_pause_takes_back_what_a_worker_has_not_started(
    queue: JobQueue, make_worker: MakeWorker, tmp_path: Path
) -> None:
    queue.clock = SYSTEM
    gate = tmp_path / "gate"
    quick = [Job("quick", jobs.nothing, queue="mail") for _ in range(300)]
    waits = Job("waits", jobs.wait_visibly, {"path": str(gate)}, queue="mail")
    queue.submit_many([*quick, waits, *[Job("behind", jobs.nothing, queue="mail") for _ in range(5)]])
    try:
        with at_work(make_worker(queue, polling_interval=3600)):
            wait_until(Path(f"{gate}.waits").exists, "the job runs before which others were quick")
            queue.pause("mail")
            wait_until(lambda: counted(queue, "mail").get("running") == 1, "the others are back")
            gate.touch()
            wait_until(lambda: "running" not in counted(queue, "mail"), "it has ended")
            assert counted(queue, "mail") == {"completed": 301, "pending": 5, "total": 306}
            assert all(row["attempts"] == 0 for row in queue.list_jobs("pending"))
    finally:
        gate.touch()
