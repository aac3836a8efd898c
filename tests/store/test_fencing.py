"""Only the newest run of a job can settle it: a late one is refused, and the others of its batch stand."""

from __future__ import annotations

import pytest
from clocks import TurnedClock
from stores import Hands, new_job

from gigq.status import End
from gigq.store.rows import Settlement

LATE: tuple[End, ...] = ("returned", "raised", "timeout", "died", "stopped", "unstarted", "unavailable")


def _everything(hands: Hands) -> list[tuple[object, ...]]:
    return hands.sql("SELECT * FROM job ORDER BY seq") + hands.sql("SELECT * FROM counts ORDER BY 1, 2")


@pytest.mark.parametrize("late", LATE)
def test_a_late_end_changes_nothing_once_the_run_was_settled(hands: Hands, late: End) -> None:
    hands.submit(new_job("a", max_attempts=2), new_job("child", ["a"]))
    lease = hands.claim_one("a")
    hands.settle(lease, "timeout")
    before = _everything(hands)
    answer = hands.settle(lease, late, result='"late"')
    assert [one.lease.lease for one in answer.lost] == [lease.lease]
    assert _everything(hands) == before
    assert hands.status("child") == "pending"


@pytest.mark.parametrize("late", LATE)
def test_a_late_end_changes_nothing_while_the_next_run_is_under_way(hands: Hands, late: End) -> None:
    hands.submit("a")
    first = hands.run("a", "timeout")
    second = hands.claim_one("a")
    before = _everything(hands)
    assert hands.settle(first, late, result='"late"').lost
    assert _everything(hands) == before
    hands.settle(second, result='"newest"')
    assert hands.store.result("a") == ("completed", '"newest"')


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled", "requeued", "cleared"])
def test_a_late_end_changes_nothing_whatever_became_of_the_job(hands: Hands, how: str) -> None:
    hands.submit(new_job("a", max_attempts=2))
    late = hands.run("a", "timeout")
    if how in ("completed", "cleared"):
        hands.run("a", result='"newest"')
    elif how == "failed":
        hands.fail("a")
    else:
        hands.cancel("a")
    if how == "requeued":
        hands.requeue("a")
    if how == "cleared":
        hands.clear()
    before = _everything(hands)
    assert hands.settle(late, result='"late"').lost
    assert _everything(hands) == before


def test_the_run_that_reported_late_is_marked_superseded(hands: Hands) -> None:
    hands.submit("a")
    lease = hands.run("a", "timeout")
    assert hands.runs("a") == ["timeout"]
    hands.settle(lease)
    assert hands.runs("a") == ["superseded"]


def test_a_rescuer_that_comes_late_marks_nothing(hands: Hands) -> None:
    """The run is not late: it was settled in time, by its own worker."""
    hands.submit("a")
    lease = hands.run("a", "raised")
    answer = hands.store.exchange([hands.outcome(lease, "died")], None, hands.clock.now(), late=False)
    assert answer.lost
    assert hands.runs("a") == ["failed"]


def test_a_run_settled_twice_keeps_its_first_end(hands: Hands) -> None:
    hands.submit("a")
    lease = hands.run("a", result="1")
    assert hands.settle(lease, result="2").lost
    assert hands.store.result("a") == ("completed", "1")
    assert hands.runs("a") == ["completed"], "it is not superseded: it is the run whose result stands"


def test_one_lost_lease_does_not_sink_its_batch(hands: Hands) -> None:
    hands.submit("a", "b", "c", "d", new_job("child", ["b"]))
    leases = {lease.id: lease for lease in hands.claim(4)}
    hands.settle(leases["c"], "timeout")
    answer = hands.exchange(
        [
            hands.outcome(leases["a"], result="1"),
            hands.outcome(leases["b"], result="2"),
            hands.outcome(leases["c"], result="3"),
            hands.outcome(leases["d"], "raised"),
        ],
        want=9,
    )
    assert [one.lease.id for one in answer.lost] == ["c"]
    assert answer.refused == []
    assert hands.statuses() == {
        "a": "completed",
        "b": "completed",
        "c": "running",
        "d": "running",
        "child": "running",
    }
    assert [lease.id for lease in answer.claimed] == ["c", "d", "child"], "and the worker got its next jobs"
    assert hands.job("c")["result"] is None


def test_all_leases_of_a_batch_may_be_lost(hands: Hands) -> None:
    hands.submit("a", "b")
    leases = hands.claim(2)
    for lease in leases:
        hands.settle(lease, "died")
    answer = hands.exchange([hands.outcome(lease) for lease in leases])
    assert len(answer.lost) == 2
    assert hands.statuses() == {"a": "pending", "b": "pending"}


def test_the_same_run_twice_in_one_batch_counts_once(hands: Hands) -> None:
    hands.submit("a", "b")
    first, second = hands.claim(2)
    answer = hands.exchange(
        [hands.outcome(first, result="1"), hands.outcome(first, result="2"), hands.outcome(second)]
    )
    assert len(answer.lost) == 1
    assert hands.statuses() == {"a": "completed", "b": "completed"}
    assert hands.runs("a") == ["completed"]


@pytest.mark.parametrize("field", ["error", "result"])
def test_an_outcome_that_cannot_be_written_ends_its_job_as_failed(hands: Hands, field: str) -> None:
    hands.submit("a", "b", "c", new_job("child", ["b"]), new_job("other", ["a"]))
    leases = {lease.id: lease for lease in hands.claim(3)}
    bad = hands.outcome(leases["b"], "returned" if field == "result" else "raised")
    setattr(bad, field, "\ud800 is not text")
    answer = hands.exchange([hands.outcome(leases["a"]), bad, hands.outcome(leases["c"], "stopped")])
    assert (answer.lost, [one.lease.id for one in answer.refused]) == ([], ["b"])
    assert hands.statuses() == {
        "a": "completed",
        "b": "failed",
        "c": "pending",
        "child": "cancelled",
        "other": "pending",
    }
    job = hands.job("b")
    assert "its end could not be stored" in job["error"]
    assert (job["attempts"], job["runs"], hands.runs("b")) == (1, 1, ["failed"])


def test_an_outcome_that_breaks_a_rule_of_the_table_is_refused_too(hands: Hands) -> None:
    hands.submit("a", "b")
    first, second = hands.claim(2)
    now = hands.clock.now()
    answer = hands.exchange([Settlement(first, "finished", "completed", now, now), hands.outcome(second)])
    assert [one.lease.id for one in answer.refused] == ["a"]
    assert hands.statuses() == {"a": "failed", "b": "completed"}


def test_an_outcome_that_cannot_be_written_and_comes_late_is_only_late(hands: Hands) -> None:
    hands.submit("a", "b")
    first, second = hands.claim(2)
    hands.settle(first, "died")
    bad = hands.outcome(first, "raised", error="\ud800")
    answer = hands.exchange([bad, hands.outcome(second)])
    assert ([one.lease.id for one in answer.lost], answer.refused) == (["a"], [])
    assert hands.runs("a") == ["superseded"]
    assert hands.statuses() == {"a": "pending", "b": "completed"}


def test_a_lease_is_found_only_while_its_run_is_under_way(hands: Hands, clock: TurnedClock) -> None:
    hands.submit("a")
    lease = hands.claim_one("a")
    found = hands.store.lease("a", lease.lease)
    assert found == lease
    assert hands.store.lease("a", "another") is None
    assert hands.store.lease("b", lease.lease) is None
    assert [one.id for one in hands.store.running()] == ["a"]
    hands.settle(lease)
    assert hands.store.lease("a", lease.lease) is None
    assert hands.store.running() == []
