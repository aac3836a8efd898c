"""Limits of queues, and priorities that rise with time."""

from __future__ import annotations

from typing import Any

import pytest
from clocks import TurnedClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stores import Hands, new_job

from gigq.clock import SECOND
from gigq.queues import Serving
from gigq.store import open_memory
from gigq.store.claiming import Claim


def test_no_more_run_than_the_limit_at_all_workers_together(hands: Hands) -> None:
    hands.store.limit("mail", 3)
    hands.submit(*[new_job(f"{n}", queue="mail") for n in range(9)], "free")
    first = hands.store.exchange([], Claim(1, 2, Serving(["mail"])), hands.clock.now()).claimed
    second = hands.store.exchange([], Claim(2, 9), hands.clock.now()).claimed
    assert [lease.id for lease in first + second] == ["0", "1", "2", "free"]
    assert not hands.store.peek().ready
    ended = [hands.outcome(lease) for lease in first]
    third = hands.store.exchange(ended, Claim(1, 9), hands.clock.now()).claimed
    assert [lease.id for lease in third] == ["3", "4"], "what ends in the same exchange makes room"
    hands.store.limit("mail", 4)
    assert hands.store.peek().ready
    assert [lease.id for lease in hands.store.exchange([], Claim(1, 9), hands.clock.now()).claimed] == ["5"]
    hands.store.limit("mail", 1)
    hands.exchange([hands.outcome(lease) for lease in third])
    assert not hands.store.peek().ready
    hands.store.limit("mail", None)
    assert len(hands.store.exchange([], Claim(1, 9), hands.clock.now()).claimed) == 3


@pytest.mark.parametrize(
    "end", ["returned", "raised", "died", "stopped", "unstarted", "unavailable", "timeout"]
)
def test_however_a_run_ends_it_makes_room(hands: Hands, end: Any) -> None:
    hands.store.limit("default", 1)
    hands.submit("a", new_job("b", priority=1))
    lease = hands.claim_one("b")
    assert hands.claim(5) == []
    hands.settle(lease, end)
    assert len(hands.claim(5)) == 1


def test_a_late_end_of_a_run_makes_no_room_a_second_time(hands: Hands) -> None:
    hands.store.limit("default", 1)
    hands.submit("a", "b", "c")
    lease = hands.claim_one("a")
    hands.settle(lease)
    hands.claim_one("b")
    late = hands.store.exchange([hands.outcome(lease)], Claim(1, 5), hands.clock.now())
    assert (len(late.lost), late.claimed) == (1, [])


QUEUES = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), QUEUES, st.integers(-1, 1)),
        st.tuples(st.just("limit"), QUEUES, st.sampled_from([None, 1, 2, 3])),
        st.tuples(st.just("pause"), QUEUES, st.none()),
        st.tuples(st.just("resume"), QUEUES, st.none()),
        st.tuples(st.just("age"), QUEUES, st.sampled_from([None, 10])),
        st.tuples(
            st.just("end"), st.sampled_from(["returned", "raised", "died", "unstarted"]), st.integers(0, 3)
        ),
        st.tuples(
            st.just("claim"),
            st.sampled_from([None, ["a"], ["b", "*"], ["*", "a"], {"a": 2, "*": 1}, {"b": 1, "c": 1}]),
            st.integers(1, 4),
        ),
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_a_claim_gets_all_that_it_may_and_nothing_else(steps: list[tuple[str, Any, Any]]) -> None:
    """Against a plain model: which are open, how many run, what is ready."""
    clock = TurnedClock()
    hands = Hands(open_memory(), clock)
    limits: dict[str, int | None] = {}
    paused: set[str] = set()
    running: list[Any] = []
    ready: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    for number, (what, which, how) in enumerate(steps):
        match what:
            case "submit":
                hands.submit(
                    new_job(f"j{number}", queue=which, priority=how, max_attempts=99, max_crashes=99)
                )
                ready[which].append(f"j{number}")
            case "limit":
                hands.store.limit(which, how)
                limits[which] = how
            case "pause":
                assert hands.store.pause(which, None, clock.now()) == (which not in paused)
                paused.add(which)
            case "resume":
                assert hands.store.resume(which) == (which in paused)
                paused.discard(which)
            case "age":
                hands.store.age(which, how and how * SECOND)
            case "end" if how < len(running):
                lease = running.pop(how)
                hands.settle(lease, which)
                if which != "returned":
                    ready[lease.queue].append(lease.id)
            case "claim":
                serving = Serving(which)
                room = {
                    name: 0
                    if name in paused or not (serving.serves_others or name in serving.named)
                    else min(
                        len(ids), max(0, (limits.get(name) or 99) - sum(run.queue == name for run in running))
                    )
                    for name, ids in ready.items()
                }
                assert hands.store.peek(serving).ready == any(room.values())
                leases = hands.store.exchange([], Claim(1, how, serving), clock.now()).claimed
                assert len(leases) == min(how, sum(room.values()))
                for lease in leases:
                    ready[lease.queue].remove(lease.id)
                    room[lease.queue] -= 1
                assert all(left >= 0 for left in room.values())
                running += leases
    counts = {row.name: row.jobs.get("running", 0) for row in hands.store.queues()}
    assert {name: n for name, n in counts.items() if n} == {
        name: n for name in ready if (n := sum(run.queue == name for run in running))
    }


# -- ageing --------------------------------------------------------------------------------------------------------


def test_a_job_that_waits_for_long_overtakes_higher_priorities(hands: Hands, clock: TurnedClock) -> None:
    hands.store.age("default", 60 * SECOND)
    old = new_job("old")
    old.created_at = clock.now()
    hands.submit(old)
    for minute in range(4):
        clock.turn(60)
        newer = new_job(f"new {minute}", priority=3)
        newer.created_at = clock.now()
        hands.submit(newer)
    order = [lease.id for lease in hands.claim(2)] + [lease.id for lease in hands.claim(9)]
    assert order == ["new 0", "new 1", "old", "new 2", "new 3"], "three minutes make up for three priorities"
    assert hands.job("old")["priority"] == 0


def test_age_counts_from_when_a_job_could_start(hands: Hands, clock: TurnedClock) -> None:
    hands.store.age("default", 1 * SECOND)
    for job_id, priority in (("late", 0), ("high", 5)):
        job = new_job(job_id, priority=priority, retry_delay=3600)
        job.created_at = clock.now()
        hands.submit(job)
    hands.settle(hands.claim_one("high"), "unstarted")
    clock.turn(10)
    late = hands.exchange([], 2).claimed[1]
    assert late.id == "late"
    hands.settle(late, "raised")
    clock.turn(3600)
    fresh = new_job("fresh", priority=1)
    fresh.created_at = clock.now()
    hands.submit(fresh)
    assert hands.claim_one().id == "fresh", "its retry is due just now, however old it is"


def test_each_queue_ages_by_itself(hands: Hands, clock: TurnedClock) -> None:
    hands.store.age("ageing", 1 * SECOND)
    for queue in ("ageing", "other"):
        job = new_job(f"old {queue}", queue=queue)
        job.created_at = clock.now()
        hands.submit(job)
    clock.turn(10)
    for queue in ("ageing", "other"):
        hands.submit(new_job(f"new {queue}", queue=queue, priority=5))
        with hands.store._writing() as tx:
            tx._execute("UPDATE job SET created_at = ? WHERE id = ?", (clock.now(), f"new {queue}"))
    leases = hands.store.exchange([], Claim(1, 9), clock.now()).claimed
    assert [lease.id for lease in leases] == ["old ageing", "new ageing", "new other", "old other"]


def test_a_claim_looks_at_each_priority_of_a_queue_that_ages_but_not_at_its_jobs(hands: Hands) -> None:
    hands.store.age("default", SECOND)
    hands.submit(*[new_job(f"{n}", priority=n % 3) for n in range(300)])
    with hands.store._reading() as tx:
        assert tx.array("ready_priorities", int, queue="default", limit=10) == [2, 1, 0]
        assert tx.array("ready_priorities", int, queue="default", limit=2) == [2, 1]
