"""Each verb of a store by itself: what it changes, what it refuses, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
from clocks import TurnedClock
from stores import Hands, new_job

from gigq.clock import SECOND
from gigq.errors import DuplicateJob
from gigq.lease import Lease
from gigq.status import End, JobStatus, settle
from gigq.store.transaction import Transaction

# -- submit ------------------------------------------------------------------------------------------------------


def test_a_submitted_job_is_pending_and_ready(hands: Hands) -> None:
    hands.submit("a")
    assert hands.statuses() == {"a": "pending"}
    assert hands.ready() == ["a"]
    assert hands.store.stats() == {"pending": 1}


def test_an_id_that_is_in_the_queue_is_refused_and_nothing_is_written(hands: Hands) -> None:
    hands.submit("a")
    with pytest.raises(DuplicateJob, match="job a is in the queue already"):
        hands.submit("b", "a")
    assert hands.statuses() == {"a": "pending"}


def test_the_same_id_twice_in_one_submission_is_refused(hands: Hands) -> None:
    with pytest.raises(DuplicateJob, match="job a is submitted twice"):
        hands.submit("a", "b", "a")
    assert hands.statuses() == {}


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_the_id_of_a_job_that_has_ended_is_refused(hands: Hands, status: str) -> None:
    hands.submit("a")
    if status == "completed":
        hands.run("a")
    elif status == "failed":
        hands.fail("a")
    else:
        hands.cancel("a")
    with pytest.raises(DuplicateJob):
        hands.submit("a")


def test_the_id_of_a_cleared_job_is_free_again_and_its_number_is_not(hands: Hands) -> None:
    hands.submit("a")
    number = hands.job("a")["seq"]
    hands.run("a")
    hands.clear()
    hands.submit("a")
    assert hands.job("a")["seq"] == number + 1


def test_a_submission_of_nothing_is_none(hands: Hands) -> None:
    hands.submit()
    assert hands.statuses() == {}


# -- claim -------------------------------------------------------------------------------------------------------


def test_a_claim_takes_what_it_wants_and_no_more(hands: Hands) -> None:
    hands.submit("a", "b", "c")
    assert [lease.id for lease in hands.claim(2)] == ["a", "b"]
    assert [lease.id for lease in hands.claim(2)] == ["c"]
    assert hands.claim(2) == []


def test_a_claimed_job_is_running_under_a_lease_of_its_own(hands: Hands) -> None:
    hands.submit("a", "b")
    leases = hands.claim(2)
    assert hands.statuses() == {"a": "running", "b": "running"}
    assert [hands.job(lease.id)["execution_id"] for lease in leases] == [lease.lease for lease in leases]
    assert leases[0].lease != leases[1].lease


def test_the_lease_is_new_at_every_claim(hands: Hands) -> None:
    hands.submit("a")
    seen = set()
    for _ in range(5):
        lease = hands.claim_one("a")
        hands.settle(lease, "unstarted")
        seen.add(lease.lease)
    assert len(seen) == 5


def test_a_claim_tells_all_that_a_worker_needs(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(new_job("a", priority=7, max_attempts=4, retry_delay=2))
    lease = hands.claim_one("a")
    assert (lease.module, lease.function, lease.params) == ("jobs", "nothing", "{}")
    assert (lease.priority, lease.max_attempts, lease.retry_delay) == (7, 4, 2 * SECOND)
    assert (lease.attempts, lease.crashes, lease.runs, lease.parents) == (0, 0, 0, 0)
    assert (lease.worker, lease.claimed_at) == (1, clock.now())


# -- settle ------------------------------------------------------------------------------------------------------


def test_a_run_that_returned_completes_its_job_with_the_result(hands: Hands, clock: TurnedClock) -> None:
    hands.submit("a")
    hands.run("a", result='{"rows":3}')
    job = hands.job("a")
    assert (job["status"], job["result"], job["error"]) == ("completed", '{"rows":3}', None)
    assert (job["attempts"], job["runs"], job["completed_at"]) == (1, 1, clock.now())
    assert hands.store.result("a") == ("completed", '{"rows":3}')


def test_a_failed_run_is_tried_again_after_the_delay_until_its_attempts_are_used(
    hands: Hands, clock: TurnedClock
) -> None:
    hands.submit(new_job("a", max_attempts=2, retry_delay=60))
    hands.run("a", "raised", error="ValueError: one")
    assert (hands.status("a"), hands.ready()) == ("pending", [])
    clock.turn(59.9)
    assert hands.claim() == []
    clock.turn(0.1)
    hands.run("a", "raised", error="ValueError: two")
    job = hands.job("a")
    assert (job["status"], job["attempts"], job["error"]) == ("failed", 2, "ValueError: two")
    assert hands.runs("a") == ["failed", "failed"]


def test_without_a_delay_a_retry_is_ready_at_once(hands: Hands) -> None:
    hands.submit("a")
    hands.run("a", "raised")
    assert hands.ready() == ["a"]


def test_the_error_of_an_attempt_is_gone_once_the_job_completed(hands: Hands) -> None:
    hands.submit("a")
    hands.run("a", "raised", error="ValueError")
    assert hands.job("a")["error"] == "ValueError"
    hands.run("a")
    assert hands.job("a")["error"] is None


def test_the_last_attempt_that_timed_out_gives_the_job_its_status(hands: Hands) -> None:
    hands.submit(new_job("a", max_attempts=2))
    hands.run("a", "timeout")
    assert hands.status("a") == "pending"
    hands.run("a", "timeout")
    assert hands.status("a") == "timeout"
    assert hands.runs("a") == ["timeout", "timeout"]


def test_a_death_is_charged_as_a_crash_and_not_as_an_attempt(hands: Hands) -> None:
    hands.submit(new_job("a", max_crashes=3))
    for crashes in (1, 2):
        hands.run("a", "died")
        job = hands.job("a")
        assert (job["status"], job["attempts"], job["crashes"]) == ("pending", 0, crashes)
    hands.run("a", "died", error="killed by signal 9")
    assert hands.status("a") == "failed"
    assert "killed by signal 9; gave up after 3 crashes" in hands.job("a")["error"]
    assert hands.runs("a") == ["crashed"] * 3


def test_what_never_started_goes_back_uncharged_and_without_a_trace(hands: Hands) -> None:
    hands.submit("a")
    before = hands.job("a")
    hands.run("a", "unstarted")
    after = hands.job("a")
    for field in ("status", "attempts", "crashes", "runs", "started_at", "completed_at"):
        assert after[field] == before[field]
    assert hands.runs("a") == []


def test_what_was_stopped_goes_back_uncharged_and_the_history_says_released(hands: Hands) -> None:
    hands.submit("a")
    hands.run("a", "stopped")
    job = hands.job("a")
    assert (job["status"], job["attempts"], job["crashes"], job["runs"]) == ("pending", 0, 0, 1)
    assert hands.runs("a") == ["released"]


def test_a_retry_that_waits_for_its_abandoned_thread_can_be_hastened(
    hands: Hands, clock: TurnedClock
) -> None:
    hands.submit(new_job("a", retry_delay=600))
    lease = hands.run("a", "timeout")
    hands.store.hasten(lease, clock.now() + 5 * SECOND)
    assert hands.job("a")["due_at"] == clock.now() + 5 * SECOND
    hands.store.hasten(lease, clock.now() + 60 * SECOND)
    assert hands.job("a")["due_at"] == clock.now() + 5 * SECOND, "never later than it was"
    hands.store.hasten(lease, None)
    hands.run("a")
    hands.store.hasten(lease, clock.now())
    assert hands.status("a") == "completed"


def test_the_law_is_what_is_written(hands: Hands, clock: TurnedClock) -> None:
    """Whatever ``settle`` decides, the row says."""
    hands.submit(new_job("a", max_attempts=3, retry_delay=1))
    ends: tuple[End, ...] = ("raised", "died", "stopped", "timeout", "unstarted", "raised")
    for end in ends:
        clock.turn(10)
        lease = hands.claim_one("a")
        decision = settle(end, lease, clock.now())
        hands.settle(lease, end)
        job = hands.job("a")
        assert job["status"] == decision.status.value
        assert job["attempts"] == lease.attempts + decision.attempts
        assert job["crashes"] == lease.crashes + decision.crashes
        assert job["due_at"] == decision.due_at
    assert hands.status("a") == JobStatus.FAILED.value


# -- cancel and requeue ------------------------------------------------------------------------------------------


def test_a_pending_job_can_be_cancelled_once(hands: Hands, clock: TurnedClock) -> None:
    hands.submit("a")
    assert hands.cancel("a") is True
    assert hands.cancel("a") is False
    assert (hands.status("a"), hands.job("a")["completed_at"]) == ("cancelled", clock.now())
    assert hands.claim() == []


def test_a_cancelled_job_has_no_marks_left(hands: Hands, clock: TurnedClock) -> None:
    hands.submit(new_job("waiting", retry_delay=60), "held")
    hands.run("waiting", "raised")
    hands.run("held", "unavailable")
    hands.cancel("waiting")
    hands.cancel("held")
    clock.turn(3600)
    assert hands.claim(5) == []


@pytest.mark.parametrize("end", ["running", "completed", "failed", "unknown"])
def test_what_is_not_pending_cannot_be_cancelled(hands: Hands, end: str) -> None:
    hands.submit("a")
    if end == "running":
        hands.claim_one("a")
    elif end == "completed":
        hands.run("a")
    elif end == "failed":
        hands.fail("a")
    assert hands.cancel("unknown" if end == "unknown" else "a") is False
    if end != "unknown":
        assert hands.status("a") == end


@pytest.mark.parametrize("end", ["failed", "timeout", "cancelled"])
def test_a_job_that_ended_badly_can_start_anew(hands: Hands, end: str) -> None:
    hands.submit(new_job("a", max_attempts=2))
    hands.run("a", "died")
    if end == "cancelled":
        hands.cancel("a")
    elif end == "failed":
        hands.fail("a")
    else:
        hands.run("a", "timeout")
        hands.run("a", "timeout")
    assert hands.status("a") == end
    assert hands.requeue("a") is None
    job = hands.job("a")
    assert (job["status"], job["attempts"], job["crashes"]) == ("pending", 0, 0)
    for field in ("error", "result", "started_at", "completed_at", "due_at", "held_by"):
        assert job[field] is None
    assert job["runs"] == len(hands.runs("a")) > 0, "history stays"
    hands.run("a")


@pytest.mark.parametrize(("end", "reason"), [("pending", "pending"), ("running", "running")])
def test_what_has_not_ended_cannot_be_requeued(hands: Hands, end: str, reason: str) -> None:
    hands.submit("a")
    if end == "running":
        hands.claim_one("a")
    assert hands.requeue("a") == f"it is {reason}"


def test_what_completed_or_never_was_cannot_be_requeued(hands: Hands) -> None:
    hands.submit("a")
    hands.run("a")
    assert hands.requeue("a") == "it is completed"
    assert hands.requeue("b") == "there is no such job"


def test_a_requeued_job_keeps_its_place_in_the_order(hands: Hands) -> None:
    hands.submit("a", "b")
    hands.fail("a")
    hands.requeue("a")
    assert hands.ready() == ["a", "b"]


def test_a_record_and_its_runs_are_of_one_moment(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    hands.submit("a")
    real, leases = Transaction.records, list[Lease]()

    def records(tx: Transaction, name: str, /, **values: Any) -> list[dict[str, Any]]:
        found = real(tx, name, **values)
        if name == "record" and not leases:
            leases.append(hands.claim_one("a"))
        return found

    monkeypatch.setattr(Transaction, "records", records)
    record = hands.store.record("a")
    assert record is not None
    assert (record[0]["status"], [run["status"] for run in record[1]]) == ("running", ["running"])
    hands.settle(leases[0])
    monkeypatch.undo()
    assert hands.store.record("no such job") is None
