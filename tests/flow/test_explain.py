"""explain(): one sentence for each reason that a job has, with its facts and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import jobs
import pytest
from clocks import TurnedClock
from stores import Hands, new_job

from gigq import Job, JobQueue, Limit, Worker
from gigq.clock import to_iso
from gigq.explain import Explanation
from gigq.explain.words import moment, span
from gigq.store import explaining


@pytest.fixture
def hands(queue: JobQueue, clock: TurnedClock) -> Hands:
    return Hands(queue._store, clock)


@pytest.fixture
def sitting(worker: Worker) -> Worker:
    """A worker that is alive."""
    worker._desk.seat()
    return worker


def only(told: Explanation) -> dict[str, Any]:
    """The one reason, as programs see it."""
    found = told.as_dict()
    json.dumps(found)
    assert found["text"] == str(told).partition("\n")[0]
    assert re.fullmatch(r"[A-Z].*(\.|!|\?)", found["text"], re.DOTALL)
    [reason] = found["reasons"]
    return dict(reason)


# -- ready -------------------------------------------------------------------------------------------------------


def test_a_job_that_nobody_has_is_explained_too(queue: JobQueue) -> None:
    told = queue.explain("nowhere")
    assert (told.status, told.as_dict()["exists"]) == (None, False)
    assert "There is no job nowhere in" in only(told)["text"]
    assert queue.explain("\ud800").status is None


def test_without_any_worker_it_says_to_start_one(queue: JobQueue) -> None:
    reason = only(queue.explain(queue.submit(Job("one", jobs.nothing))))
    assert (reason["reason"], reason["text"]) == ("no worker", "It is ready, and no worker is running.")
    assert "gigq worker" in reason["advice"]


def test_a_worker_that_left_is_none(queue: JobQueue, sitting: Worker) -> None:
    job_id = queue.submit(Job("one", jobs.nothing))
    assert only(queue.explain(job_id))["reason"] == "waiting"
    sitting.close()
    assert only(queue.explain(job_id))["reason"] == "no worker"


def test_it_counts_what_comes_first(queue: JobQueue, hands: Hands, sitting: Worker) -> None:
    hands.submit("a", "b", new_job("high", priority=5), new_job("low", priority=-1), "held", "c")
    hands.submit(new_job("elsewhere", queue="mail", priority=9), new_job("blocked", ["low"], priority=9))
    assert [lease.id for lease in hands.claim(1)] == ["high"]
    ahead = {name: only(queue.explain(name))["ahead"] for name in ("a", "b", "c", "low", "elsewhere")}
    assert ahead == {"a": 0, "b": 1, "c": 3, "low": 4, "elsewhere": 0}
    reason = only(queue.explain("b"))
    assert reason["running"] == 1
    assert reason["workers"] == [sitting.worker_id]
    assert reason["text"] == (
        "It is ready, and 1 job of queue 'default' comes first, while 1 job of its queue runs at 1 worker."
    )


def test_it_counts_no_further_than_it_must(
    queue: JobQueue, hands: Hands, sitting: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "MANY", 5)
    hands.submit(*(str(n) for n in range(9)))
    assert only(queue.explain("3"))["ahead"] == 3
    reason = only(queue.explain("8"))
    assert reason["ahead"] == 5
    assert "5 jobs or more" in reason["text"]


def test_a_queue_that_no_worker_serves_is_told(
    queue: JobQueue, hands: Hands, make_worker: Callable[..., Worker]
) -> None:
    worker = make_worker(queue, queues=["mail", "pdf"])
    worker._desk.seat()
    hands.submit("a", new_job("b", queue="pdf"))
    reason = only(queue.explain("a"))
    assert reason["reason"] == "no worker"
    assert reason["text"] == "It is ready, and none of the workers (1) serves its queue 'default'."
    assert reason["advice"] == "Start one that does: gigq worker --queues default."
    assert only(queue.explain("b"))["workers"] == [worker.worker_id]
    others = make_worker(queue, queues=["mail", "*"])
    others._desk.seat()
    assert only(queue.explain("a"))["workers"] == [others.worker_id]


def test_a_queue_that_runs_as_much_as_it_may_is_told(queue: JobQueue, hands: Hands, sitting: Worker) -> None:
    queue.limit("default", 1)
    hands.submit("a", "b", "c")
    hands.claim(3)
    reason = only(queue.explain("c"))
    assert (reason["reason"], reason["running"], reason["concurrency"]) == ("full", 1, 1)
    assert reason["text"] == (
        "It is ready, but its queue 'default' runs as many jobs as it may: 1 of 1; 1 job of queue 'default' comes first."
    )
    assert "gigq queue limit default 2" in reason["advice"]


def test_where_priorities_rise_the_count_is_about(queue: JobQueue, hands: Hands, sitting: Worker) -> None:
    queue.age("default", 60)
    hands.submit("a", "b", "c")
    assert "about 2 jobs of queue 'default' come first" in only(queue.explain("c"))["text"]


# -- what keeps it -----------------------------------------------------------------------------------------------


def test_it_names_the_parents_it_waits_for_and_how_they_stand(queue: JobQueue, hands: Hands) -> None:
    hands.submit("done", "runs", "p2", "p3", "p4", "p5")
    hands.run("done")
    hands.submit(new_job("child", ["done", "runs", "p2", "p3", "p4", "p5"]))
    hands.claim(1)
    reason = only(queue.explain("child"))
    assert reason["reason"] == "parents"
    assert reason["text"] == (
        "It waits for 5 parents: runs runs (running), p2 p2 (pending), p3 p3 (pending) and 2 more."
    )
    assert reason["parents_left"] == 5
    assert reason["parents"][0] == {"id": "runs", "name": "runs", "status": "running", "error": None}
    assert reason["advice"] == "Why that has not completed: gigq explain runs."


def test_a_parent_that_ended_badly_is_to_be_requeued(queue: JobQueue, hands: Hands) -> None:
    hands.submit("parent", new_job("child", ["parent"], policy="wait"))
    hands.fail("parent")
    reason = only(queue.explain("child"))
    assert reason["text"] == "It waits for its parent: parent parent (failed)."
    assert "gigq requeue parent" in reason["advice"]


def test_it_says_how_long_until_it_is_due_and_why(queue: JobQueue, hands: Hands, clock: TurnedClock) -> None:
    hands.submit(new_job("a", retry_delay=3725))
    hands.run("a", "raised", error="ValueError: no luck\nTraceback ...")
    reason = only(queue.explain("a"))
    due = clock.now() + 3_725_000_000
    assert (reason["reason"], reason["due_at"], reason["seconds_left"]) == ("due", to_iso(due), 3725.0)
    assert reason["text"] == (
        f"It is due at {moment(due)}, in 1 h 2 min after 1 of 3 attempts: ValueError: no luck."
    )
    clock.turn(4000)
    assert "has been due since" in only(queue.explain("a"))["text"]
    assert "gigq worker" in only(queue.explain("a"))["advice"]


def test_a_job_held_for_its_module_says_what_to_start(queue: JobQueue, hands: Hands, sitting: Worker) -> None:
    hands.submit("a")
    hands.settle(hands.claim_one(), "unavailable", error="no module named jobs here")
    with queue._store._writing() as tx:
        tx._execute("UPDATE job SET held_by = 'import:jobs'")
    reason = only(queue.explain("a"))
    assert reason["reason"] == "held"
    assert "no worker that tried could import jobs: no module named jobs here. It fails at" in reason["text"]
    assert "jobs.nothing" in reason["advice"]


def test_a_full_limit_is_named_with_those_that_hold_it(
    queue: JobQueue, hands: Hands, sitting: Worker, clock: TurnedClock
) -> None:
    limit = Limit("host:{value}", concurrency=1, rate="2/min")
    ids = [queue.submit(Job("one", jobs.echo, {"value": "a"}, limit=limit)) for _ in range(4)]
    [lease] = hands.claim(4)
    reason = only(queue.explain(ids[2]))
    assert reason["reason"] == "limit"
    assert reason["text"] == (
        f"Its limit host:a has no room: 1 of 1 run ({ids[0]}), 1 of 2 have started within 1 min; "
        "1 job with the same limits comes first."
    )
    assert reason["advice"] == "What it allows: gigq limit list host:a."
    assert (reason["limits"][0]["running_ids"], reason["limits"][0]["per"]) == ([ids[0]], 60.0)
    hands.settle(lease)
    hands.run(ids[1])
    clock.turn(20)
    assert (
        "2 of 2 have started within 1 min, the next may start in 40 s" in only(queue.explain(ids[2]))["text"]
    )


def test_a_hold_of_a_kind_that_is_new_is_told_too(queue: JobQueue, hands: Hands) -> None:
    hands.submit("a")
    with queue._store._writing() as tx:
        tx._execute("UPDATE job SET held_by = 'moon:full'")
    assert only(queue.explain("a"))["text"] == "It is held by moon:full."


def test_several_reasons_are_all_told(queue: JobQueue, hands: Hands, clock: TurnedClock) -> None:
    hands.submit("parent", new_job("child", ["parent"]))
    with queue._store._writing() as tx:
        tx._execute("UPDATE job SET due_at = ? WHERE id = 'child'", (clock.now() + 90_000_000,))
    told = queue.explain("child")
    assert [reason.code for reason in told.reasons] == ["parents", "due"]
    assert told.text.startswith("It waits for its parent: parent parent (pending). It is due at ")
    assert str(told) == f"{told.text}\nWhy that has not completed: gigq explain parent."


def test_a_paused_queue_says_so_since_when_and_why(
    queue: JobQueue, hands: Hands, sitting: Worker, clock: TurnedClock
) -> None:
    hands.submit("a", new_job("b", ["a"]))
    queue.pause("default", "the printer burns")
    reason = only(queue.explain("a"))
    assert reason["reason"] == "paused"
    assert reason["text"] == (
        f"Its queue 'default' is paused since {moment(clock.now())}: the printer burns."
    )
    assert (reason["paused_at"], reason["why"]) == (to_iso(clock.now()), "the printer burns")
    assert reason["advice"] == "Let it go on: gigq queue resume default."
    assert [one.code for one in queue.explain("b").reasons] == ["parents", "paused"]
    queue.resume("default")
    assert only(queue.explain("a"))["reason"] == "waiting"


def test_when_it_is_over_is_told_beside_the_reason(queue: JobQueue, clock: TurnedClock) -> None:
    job_id = queue.submit(Job("one", jobs.nothing, delay=60, expires=3600, deadline=7200))
    told = queue.explain(job_id)
    assert [one.code for one in told.reasons] == ["due", "ends"]
    assert told.text.endswith(
        f"It is cancelled unless it is started by {moment(clock.now() + 3_600_000_000)} and is over at "
        f"{moment(clock.now() + 7_200_000_000)}, done or not."
    )
    clock.turn(4000)
    queue._store.expire(clock.now())
    assert "expired" in only(queue.explain(job_id))["text"]


# -- it runs, or has ended ---------------------------------------------------------------------------------------


def test_a_running_job_says_where_since_when_and_how_far(
    queue: JobQueue, hands: Hands, sitting: Worker, clock: TurnedClock
) -> None:
    from gigq.store.claiming import Claim

    hands.submit("a")
    number = sitting._desk.seat().number
    [lease] = queue._store.exchange([], Claim(number, 1), clock.now()).claimed
    with queue._store._writing() as tx:
        tx._execute("INSERT INTO progress VALUES (?, 1, 3, 10, 'reading', 0)", (lease.seq,))
    clock.turn(65)
    reason = only(queue.explain("a"))
    assert reason["text"] == (
        f"It runs since {moment(clock.now() - 65_000_000)} (1 min 5 s), attempt 1 of 3, at worker "
        f"{sitting.worker_id}; it has done 3 of 10 (reading)."
    )
    assert (reason["worker_alive"], reason["asked_to_stop"]) == (True, False)
    assert queue.cancel("a", running=True)
    assert "it is asked to stop" in only(queue.explain("a"))["text"]


def test_a_run_whose_worker_died_is_told(db: str, clock: TurnedClock) -> None:
    from gigq.store.claiming import Claim

    queue = JobQueue(db, clock=clock)
    worker = Worker(queue)
    job_id = queue.submit(Job("one", jobs.nothing))
    seat = worker._desk.seat()
    queue._store.exchange([], Claim(seat.number, 1), clock.now())
    seat._life.close()  # as the kernel does for a process that is killed
    reason = only(queue.explain(job_id))
    assert reason["text"].endswith("; but that worker is dead.")
    assert "gigq worker" in reason["advice"]


@pytest.mark.parametrize(
    ("end", "text", "advice"),
    [
        ("completed", "It has completed at {}.", "gigq result"),
        ("failed", "It failed at {} after 1 of 3 attempts: broke.", "gigq requeue"),
        ("timeout", "It ran out of time at {} after 1 of 3 attempts: it timeout.", "gigq requeue"),
        ("cancelled", "It was cancelled at {}.", "gigq requeue"),
    ],
)
def test_an_ended_job_says_how_and_what_to_do(
    queue: JobQueue, hands: Hands, clock: TurnedClock, end: str, text: str, advice: str
) -> None:
    hands.submit(end)
    hands.end(end, end)
    reason = only(queue.explain(end))
    assert (reason["reason"], reason["ended"]) == (end, to_iso(clock.now()))
    assert reason["text"] == text.format(moment(clock.now()))
    assert f"{advice} {end}" in reason["advice"]


def test_a_job_cancelled_for_its_parent_comes_back_with_it(queue: JobQueue, hands: Hands) -> None:
    hands.submit("parent", new_job("child", ["parent"]))
    hands.fail("parent")
    reason = only(queue.explain("child"))
    assert reason["parent"] == "parent"
    assert "parent parent parent failed." in reason["text"]
    assert "gigq requeue parent" in reason["advice"]


def test_an_error_takes_one_line_of_bounded_length(queue: JobQueue, hands: Hands) -> None:
    hands.submit("a")
    lease = hands.claim_one()
    outcome = hands.outcome(lease, "unstorable", error="x" * 5000 + "\nmore")
    hands.exchange([outcome])
    text = only(queue.explain("a"))["text"]
    assert len(text) < 500
    assert text.endswith("xxx...")
    assert only(queue.explain("a"))["error"].endswith("\nmore")


def test_it_is_one_statement_so_one_moment(queue: JobQueue, hands: Hands) -> None:
    hands.submit("a")
    seen: list[str] = []
    queue._store.engine.connection().set_trace_callback(seen.append)
    queue.explain("a")
    assert len([text for text in seen if "FROM job" in text]) == 1


@pytest.mark.parametrize(
    ("microseconds", "told"),
    [
        (0, "0.0 s"),
        (-5, "0.0 s"),
        (2_340_000, "2.3 s"),
        (61_000_000, "1 min 1 s"),
        (3_600_000_000, "1 h"),
        (90_061_000_000, "1 d 1 h"),
    ],
)
def test_spans_are_told_in_two_units(microseconds: int, told: str) -> None:
    assert span(microseconds) == told
