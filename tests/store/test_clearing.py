"""Clearing: what goes, what is spared, and what stays of a parent that went."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from clocks import TurnedClock
from stores import Hands, new_job


def test_completed_and_cancelled_jobs_go_and_no_others(hands: Hands) -> None:
    hands.submit("completed", "cancelled", "failed", "running", "pending")
    hands.run("completed")
    hands.cancel("cancelled")
    hands.fail("failed")
    hands.claim_one("running")
    assert hands.clear() == 2
    assert hands.statuses() == {"failed": "failed", "running": "running", "pending": "pending"}
    assert hands.store.result("completed") is None
    assert hands.clear() == 0


def test_a_cleared_job_leaves_nothing_behind(hands: Hands) -> None:
    hands.submit("a", new_job("b", ["a"]))
    hands.run("a", "raised")
    hands.run_all()
    assert hands.clear() == 2
    for table in ("job", "params", "execution", "dependency", "unfinished"):
        assert hands.sql(f"SELECT count(*) FROM {table}") == [(0,)], table
    assert hands.store.stats().get("completed", 0) == 0


def test_only_what_ended_before_the_moment_goes(hands: Hands, clock: TurnedClock) -> None:
    hands.submit("a", "b", "c")
    hands.run("a")
    clock.turn(10)
    moment = clock.now()
    hands.cancel("b")
    clock.turn(10)
    hands.run("c")
    assert hands.clear(before=moment) == 1
    assert hands.clear(before=moment + 1) == 1
    assert hands.statuses() == {"c": "completed"}


@pytest.mark.parametrize("state", ["pending", "waiting", "running", "failed"])
def test_a_parent_is_spared_while_a_child_may_still_need_it(hands: Hands, state: str) -> None:
    hands.submit("parent", "open", new_job("child", ["parent", "open"] if state == "waiting" else ["parent"]))
    hands.run("parent", result="1")
    if state == "waiting":
        hands.claim_one("open")
    else:
        hands.run("open")
    if state == "running":
        hands.claim_one("child")
    elif state == "failed":
        hands.fail("child")
    hands.clear()
    assert hands.store.result("parent") == ("completed", "1")


def test_a_cancelled_parent_is_spared_while_a_child_waits_for_it(hands: Hands) -> None:
    hands.submit("parent", new_job("child", ["parent"], policy="wait"))
    hands.cancel("parent")
    assert hands.clear() == 0
    hands.requeue("parent")
    assert hands.run_all() == ["parent", "child"]
    assert hands.clear() == 2


def test_a_family_that_is_over_goes_as_a_whole(hands: Hands) -> None:
    hands.submit("a", new_job("b", ["a"]), new_job("c", ["a", "b"]), new_job("d", ["c"]))
    hands.run_all()
    assert hands.clear() == 4


def test_a_cancelled_family_goes_as_a_whole(hands: Hands) -> None:
    hands.submit("a", new_job("b", ["a"]), new_job("c", ["b"]))
    hands.cancel("a")
    assert hands.clear() == 3


def test_a_completed_parent_goes_after_its_cancelled_child(hands: Hands) -> None:
    hands.submit("parent", new_job("child", ["parent"]))
    hands.run("parent")
    hands.cancel("child")
    assert hands.clear() == 2


def test_the_children_cancelled_for_a_failed_parent_go_and_the_parent_stays(hands: Hands) -> None:
    hands.submit("parent", new_job("child", ["parent"]))
    hands.fail("parent")
    assert hands.clear() == 1
    assert hands.requeue("parent") is None
    assert hands.run_all() == ["parent"]


def test_a_child_that_completed_keeps_the_ids_of_its_parents(hands: Hands, clock: TurnedClock) -> None:
    hands.submit("a", "b", new_job("child", ["b", "a"]))
    hands.run_all()
    hands.submit(new_job("grandchild", ["child"]))
    hands.clear()
    assert hands.statuses() == {"child": "completed", "grandchild": "pending"}
    record = hands.store.record("child")
    assert record is not None
    assert record[0]["dependencies"] == '["b","a"]'
    child = hands.job("child")
    _, parents = hands.store.parents([child["seq"]], 100)
    assert [(p.id, p.status, p.result) for p in parents] == [("b", None, None), ("a", None, None)]


def before_each_write(monkeypatch: pytest.MonkeyPatch, hands: Hands, action: Callable[[], object]) -> None:
    """Do something just before each write transaction begins."""
    real = hands.store._writing

    def writing(**how: Any) -> Any:
        action()
        return real(**how)

    monkeypatch.setattr(hands.store, "_writing", writing)


def test_clearing_many_takes_many_small_transactions(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = 4500
    hands.submit(*[f"{number}" for number in range(jobs)])
    while leases := hands.claim(500):
        hands.exchange([hands.outcome(lease) for lease in leases])
    sizes: list[int] = []
    before_each_write(monkeypatch, hands, lambda: sizes.append(hands.sql("SELECT count(*) FROM job")[0][0]))
    assert hands.clear() == jobs
    sizes.append(0)
    assert max(before - after for before, after in itertools.pairwise(sizes)) <= 2000
    assert len(sizes) > 3


def test_a_job_that_starts_anew_while_it_is_being_cleared_stays(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The candidates are read outside of the transaction that removes them."""
    hands.submit("a", "b")
    hands.cancel("a")
    hands.cancel("b")
    once = iter([lambda: hands.requeue("a")])
    before_each_write(monkeypatch, hands, lambda: next(once, lambda: None)())
    assert hands.clear() == 1
    assert hands.statuses() == {"a": "pending"}


def test_a_child_submitted_while_its_parent_is_being_cleared_saves_it(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.submit("parent")
    hands.run("parent")
    once = iter([lambda: hands.submit(new_job("child", ["parent"]))])
    before_each_write(monkeypatch, hands, lambda: next(once, lambda: None)())
    assert hands.clear() == 0
    assert hands.run_all() == ["child"]
