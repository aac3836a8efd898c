"""Who is next: priority, then submission, among all that are ready; and what makes a job ready."""

from __future__ import annotations

import pytest
from clocks import TurnedClock
from stores import Hands, new_job

from gigq.clock import SECOND
from gigq.store.claiming import Claim


def test_higher_priorities_come_first_and_equal_ones_in_order_of_submission(hands: Hands) -> None:
    for job_id, priority in (("a", 0), ("b", 5), ("c", -5), ("d", 5), ("e", 0), ("f", 2**63 - 1)):
        hands.submit(new_job(job_id, priority=priority))
    assert hands.run_all() == ["f", "b", "d", "a", "e", "c"]


@pytest.mark.parametrize("want", [1, 2, 100])
def test_a_batch_comes_in_the_same_order(hands: Hands, want: int) -> None:
    hands.submit(*[new_job(f"{number}", priority=number % 3) for number in range(9)])
    order: list[str] = []
    while leases := hands.claim(want):
        order += [lease.id for lease in leases]
    assert order == ["2", "5", "8", "1", "4", "7", "0", "3", "6"]


def test_dependent_jobs_compete_by_the_same_order_as_all_others(hands: Hands) -> None:
    hands.submit(
        new_job("parent", priority=9),
        new_job("plain low", priority=1),
        new_job("child low", ["parent"], priority=1),
        new_job("child high", ["parent"], priority=5),
        new_job("plain high", priority=5),
    )
    assert hands.run_all() == ["parent", "child high", "plain high", "plain low", "child low"]


def test_a_child_that_becomes_ready_late_still_keeps_its_place(hands: Hands) -> None:
    hands.submit("parent", new_job("child", ["parent"]), "younger")
    hands.run("parent")
    assert hands.run_all() == ["child", "younger"]


def test_the_order_inside_one_submission_is_that_of_the_list(hands: Hands) -> None:
    hands.submit(new_job("child", ["parent"]), "other", "parent")
    assert hands.run_all() == ["other", "parent", "child"]


def test_a_retry_and_what_was_given_back_keep_their_place(hands: Hands) -> None:
    hands.submit("a", "b", "c")
    first, second = hands.claim(2)
    hands.settle(first, "raised")
    hands.settle(second, "unstarted")
    assert hands.run_all() == ["a", "b", "c"]


def test_each_queue_has_its_own_order(hands: Hands) -> None:
    hands.submit(new_job("a", queue="slow"), new_job("b"), new_job("c", queue="slow", priority=1))
    assert [lease.id for lease in hands.claim(5, queue="slow")] == ["c", "a"]
    assert [lease.id for lease in hands.claim(5)] == ["b"]
    assert hands.claim(5, queue="nobody's") == []


# -- the marks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value"), [("parents_left", 1), ("due_at", 2**60), ("held_by", "'import:jobs'")]
)
def test_each_mark_alone_keeps_a_job_from_being_claimed(hands: Hands, column: str, value: object) -> None:
    hands.submit("a", "b")
    before = hands.sql(f"SELECT {column} FROM job WHERE id = 'a'")[0][0]
    with hands.store._writing() as tx:
        tx._execute(f"UPDATE job SET {column} = {value} WHERE id = 'a'")
    assert [lease.id for lease in hands.claim(5)] == ["b"]
    with hands.store._writing() as tx:
        tx._execute(f"UPDATE job SET {column} = ? WHERE id = 'a'", [before])
    assert [lease.id for lease in hands.claim(5)] == ["a"]


def test_an_exchange_promotes_what_is_due_and_claims_it_at_once(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(new_job("a", retry_delay=5), new_job("b", retry_delay=10))
    for lease in hands.claim(2):
        hands.settle(lease, "raised")
    start = clock.now()
    assert hands.store.peek().next_due == start + 5 * SECOND
    clock.turn(5)
    assert not hands.store.peek().ready, "an idle worker looks without writing"
    assert hands.store.peek().has_work(clock.now())
    assert [lease.id for lease in hands.claim(5)] == ["a"]
    assert hands.store.peek().next_due == start + 10 * SECOND
    clock.turn(5)
    assert [lease.id for lease in hands.claim(5)] == ["b"]
    assert hands.store.peek().next_due is None


def test_a_job_is_due_at_its_moment_and_not_a_microsecond_before(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(new_job("a", retry_delay=1))
    hands.run("a", "raised")
    clock.turn(0.999999)
    assert hands.claim() == []
    clock.turn(0.000001)
    hands.run("a")


def test_a_promoted_job_that_still_waits_for_a_parent_is_not_ready(hands: Hands, clock: TurnedClock) -> None:
    """Each release clears its own mark, and only that."""
    hands.submit("parent", new_job("child", ["parent"], policy="run", retry_delay=5))
    hands.fail("parent")
    hands.run("child", "raised")
    hands.requeue("parent")
    clock.turn(5)
    assert [lease.id for lease in hands.claim(5)] == ["parent"]
    child = hands.job("child")
    assert (child["due_at"], child["parents_left"]) == (None, 1)


def test_the_clock_going_back_takes_no_job_away(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(new_job("a", retry_delay=5))
    hands.run("a", "raised")
    clock.turn(5)
    hands.settle(hands.claim_one("a"), "unstarted")
    clock.turn(-3600)
    assert hands.ready() == ["a"]
    hands.run("a")


def test_peeking_at_an_empty_queue_finds_nothing(hands: Hands) -> None:
    peek = hands.store.peek()
    assert (peek.ready, peek.next_due, peek.unfinished) == (False, None, False)


def test_more_may_be_due_than_one_exchange_promotes(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(*[new_job(f"{number}", retry_delay=1) for number in range(4500)])
    leases = hands.claim(4500)
    hands.exchange([hands.outcome(lease, "raised") for lease in leases])
    clock.turn(1)
    assert [len(hands.claim(9000)) for _ in range(4)] == [2000, 2000, 500, 0]


@pytest.mark.parametrize(("kind", "want", "want_async"), [(0, 2, 0), (1, 0, 2)])
def test_one_kind_is_found_behind_many_of_the_other(
    hands: Hands, kind: int, want: int, want_async: int
) -> None:
    jobs = [new_job(f"j{n}") for n in range(1000)]
    for place, job in enumerate(jobs):
        job.is_async = kind if place >= 990 else 1 - kind
    hands.store.submit(jobs, hands.clock.now())
    claim = Claim(1, want, want_async=want_async)
    claimed = hands.store.exchange([], claim, hands.clock.now()).claimed
    assert [lease.id for lease in claimed] == ["j990", "j991"]
    assert {lease.is_async for lease in claimed} == {kind}
