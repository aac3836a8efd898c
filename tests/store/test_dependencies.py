"""What the end of a parent means for its children, and theirs."""

from __future__ import annotations

import pytest
from clocks import TurnedClock
from stores import BAD_ENDS, Hands, new_job

# -- a child waits -----------------------------------------------------------------------------------------------


def test_a_child_runs_only_when_all_its_parents_completed(hands: Hands) -> None:
    hands.submit("a", "b", "c", new_job("child", ["a", "b", "c"]))
    for parent, left in (("a", 2), ("b", 1), ("c", 0)):
        assert "child" not in hands.ready()
        hands.run(parent)
        assert hands.job("child")["parents_left"] == left
    hands.run("child")


def test_a_parent_that_fails_but_is_tried_again_changes_nothing(hands: Hands) -> None:
    hands.submit("parent", new_job("child", ["parent"]))
    hands.run("parent", "raised")
    hands.run("parent", "died")
    hands.run("parent", "stopped")
    assert (hands.status("child"), hands.job("child")["parents_left"]) == ("pending", 1)
    hands.run("parent")
    assert hands.ready() == ["child"]


def test_parents_that_end_together_release_their_child_once_for_each(hands: Hands) -> None:
    hands.submit("a", "b", "c", new_job("child", ["a", "b", "c"]), new_job("other", ["b"]))
    leases = hands.claim(3)
    hands.exchange([hands.outcome(lease) for lease in leases[:2]])
    assert (hands.ready(), hands.job("child")["parents_left"]) == (["other"], 1)
    hands.settle(leases[2])
    assert hands.ready() == ["child", "other"]


def test_a_child_and_its_parent_may_come_in_one_exchange(hands: Hands) -> None:
    hands.submit("parent", new_job("child", ["parent"]))
    lease = hands.claim_one("parent")
    answer = hands.exchange([hands.outcome(lease)], want=5)
    assert [one.id for one in answer.claimed] == ["child"]


# -- a parent ends badly -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", BAD_ENDS)
def test_a_bad_end_cancels_the_child_and_says_for_whose_sake(
    hands: Hands, how: str, clock: TurnedClock
) -> None:
    hands.submit("parent", new_job("child", ["parent"]))
    hands.end("parent", how)
    child = hands.job("child")
    assert (child["status"], child["completed_at"]) == ("cancelled", clock.now())
    assert child["error"] == "parent parent parent failed" + ("" if how == "failed" else f" ({how})")
    assert hands.runs("child") == []


@pytest.mark.parametrize("how", BAD_ENDS)
def test_the_bad_end_goes_down_the_graph(hands: Hands, how: str) -> None:
    hands.submit("a", new_job("b", ["a"]), new_job("c", ["b"]), new_job("d", ["a", "c"]), "free")
    hands.end("a", how)
    assert hands.statuses() == {
        "a": how,
        "b": "cancelled",
        "c": "cancelled",
        "d": "cancelled",
        "free": "pending",
    }
    assert hands.job("c")["error"] == "parent b b failed (cancelled)"


@pytest.mark.parametrize("how", BAD_ENDS)
def test_a_child_that_is_to_run_anyway_runs(hands: Hands, how: str) -> None:
    hands.submit("a", "b", new_job("child", ["a", "b"], policy="run"))
    hands.end("a", how)
    assert hands.ready() == ["b"]
    hands.run("b", result="2")
    lease = hands.claim_one("child")
    _, parents = hands.store.parents([lease.seq], 2**60)
    assert [(p.id, p.status, p.result) for p in parents] == [("a", how, None), ("b", "completed", "2")]
    if how == "failed":
        assert parents[0].error == "broke", "and can see why"


@pytest.mark.parametrize("how", BAD_ENDS)
def test_a_child_that_is_to_wait_waits(hands: Hands, how: str) -> None:
    hands.submit("parent", new_job("child", ["parent"], policy="wait"), new_job("grandchild", ["child"]))
    hands.end("parent", how)
    assert (hands.status("child"), hands.status("grandchild"), hands.ready()) == ("pending", "pending", [])
    assert hands.requeue("parent") is None
    assert hands.run_all() == ["parent", "child", "grandchild"]


def test_a_waiting_child_can_be_cancelled(hands: Hands) -> None:
    hands.submit("parent", new_job("child", ["parent"], policy="wait"))
    hands.fail("parent")
    assert hands.cancel("child")
    assert hands.status("child") == "cancelled"


def test_each_child_follows_its_own_policy(hands: Hands) -> None:
    hands.submit("p", *[new_job(policy, ["p"], policy=policy) for policy in ("cancel", "run", "wait")])
    hands.fail("p")
    assert hands.statuses() == {"p": "failed", "cancel": "cancelled", "run": "pending", "wait": "pending"}
    assert hands.ready() == ["run"]


def test_of_two_parents_one_bad_end_is_enough(hands: Hands) -> None:
    hands.submit("a", "b", new_job("child", ["a", "b"]))
    leases = hands.claim(2)
    hands.settle(leases[0])
    failed = hands.outcome(leases[1], "died")
    failed.status = "failed"
    hands.exchange([failed])
    assert hands.status("child") == "cancelled"


def test_parents_that_end_well_and_badly_in_one_exchange(hands: Hands) -> None:
    hands.submit("a", "b", new_job("c", ["a", "b"]), new_job("d", ["a", "b"], policy="run"))
    first, second = hands.claim(2)
    failed = hands.outcome(second, "raised")
    failed.status = "failed"
    hands.exchange([failed, hands.outcome(first)])
    assert (hands.status("c"), hands.ready()) == ("cancelled", ["d"])


def test_a_child_already_over_is_left_alone(hands: Hands) -> None:
    """It ran once; then its parent started anew and failed."""
    hands.submit("parent", new_job("child", ["parent"], policy="run"))
    hands.fail("parent")
    hands.run("child", result="1")
    hands.requeue("parent")
    hands.fail("parent")
    assert hands.store.result("child") == ("completed", "1")


# -- a parent starts anew ----------------------------------------------------------------------------------------


def test_requeueing_a_parent_brings_back_what_was_cancelled_for_its_sake(hands: Hands) -> None:
    hands.submit("a", new_job("b", ["a"]), new_job("c", ["b"]), new_job("d", ["a", "c"]))
    hands.fail("a")
    assert hands.requeue("a") is None
    assert hands.statuses() == dict.fromkeys("abcd", "pending")
    assert hands.job("c")["error"] is None
    assert hands.run_all() == ["a", "b", "c", "d"]


def test_what_its_owner_cancelled_does_not_come_back(hands: Hands) -> None:
    hands.submit("a", new_job("b", ["a"]), new_job("c", ["a"]))
    hands.cancel("b")
    hands.fail("a")
    hands.requeue("a")
    assert hands.statuses() == {"a": "pending", "b": "cancelled", "c": "pending"}


def test_what_another_bad_parent_keeps_cancelled_comes_back_with_that_one(hands: Hands) -> None:
    hands.submit("a", "b", new_job("child", ["a", "b"]), new_job("grandchild", ["child"]))
    hands.fail("a")
    hands.fail("b")
    assert hands.job("child")["error"] == "parent a a failed"
    hands.requeue("a")
    assert hands.job("child")["error"] == "parent b b failed"
    assert (hands.status("child"), hands.status("grandchild")) == ("cancelled", "cancelled")
    hands.requeue("b")
    assert hands.run_all() == ["a", "b", "child", "grandchild"]


def test_a_child_cannot_be_requeued_before_the_parent_that_cancelled_it(hands: Hands) -> None:
    hands.submit("parent", new_job("child", ["parent"]))
    hands.fail("parent")
    refusal = hands.requeue("child")
    assert refusal == "its parent parent ended badly; requeue that first"
    assert hands.status("child") == "cancelled"


def test_a_child_that_asked_to_run_anyway_can_be_requeued_beside_a_bad_parent(hands: Hands) -> None:
    hands.submit("parent", new_job("child", ["parent"], policy="run"))
    hands.fail("parent")
    hands.fail("child")
    assert hands.requeue("child") is None
    hands.run("child")


def test_a_child_that_was_let_go_waits_again_for_a_parent_that_started_anew(hands: Hands) -> None:
    hands.submit("a", "b", new_job("child", ["a", "b"], policy="run"))
    hands.fail("a")
    assert hands.job("child")["parents_left"] == 1
    hands.requeue("a")
    assert hands.job("child")["parents_left"] == 2
    assert hands.run_all() == ["a", "b", "child"]


def test_a_retry_looks_at_its_parents_afresh(hands: Hands) -> None:
    """While the child ran, its parent was brought back."""
    hands.submit("parent", new_job("child", ["parent"], policy="run"))
    hands.fail("parent")
    lease = hands.claim_one("child")
    hands.requeue("parent")
    hands.settle(lease, "raised")
    assert hands.ready() == ["parent"]
    hands.run_all()
    assert hands.status("child") == "completed"


def test_a_retry_in_the_exchange_in_which_its_parent_ends_counts_it_once(hands: Hands) -> None:
    hands.submit("a", "b", new_job("child", ["a", "b"], policy="run"))
    hands.fail("a")
    hands.fail("b")
    child = hands.claim_one("child")
    hands.requeue("a")
    hands.requeue("b")
    parent = hands.claim_one("a")
    hands.exchange([hands.outcome(child, "raised"), hands.outcome(parent)])
    assert (hands.job("child")["parents_left"], hands.ready()) == (1, ["b"])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_retry_beside_a_parent_that_fails_counts_it_once(hands: Hands, order: tuple[int, int]) -> None:
    hands.submit("a", "b", new_job("child", ["a", "b"], policy="run"))
    hands.fail("a")
    hands.fail("b")
    child = hands.claim_one("child")
    hands.requeue("a")
    hands.requeue("b")
    failed = hands.outcome(hands.claim_one("a"), "raised")
    failed.status = "failed"
    both = [hands.outcome(child, "raised"), failed]
    hands.exchange([both[place] for place in order])
    assert (hands.job("child")["parents_left"], hands.ready()) == (1, ["b"])
