"""The history of a job that snoozes for ever: it says what happened last, and does not grow."""

from __future__ import annotations

import pytest
from stores import Hands, new_job

from gigq.status import End
from gigq.store import history, inspection
from gigq.store.notes import NoteRow


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT", 10)


def run(hands: Hands, end: End) -> None:
    lease = hands.claim_one("a")
    hands.exchange([hands.outcome(lease, end)])


def runs(hands: Hands) -> list[tuple[int, str]]:
    return hands.sql("SELECT run, status FROM execution ORDER BY run")


def test_of_snoozed_runs_the_newest_stay_and_of_others_all(hands: Hands) -> None:
    hands.submit(new_job("a", max_attempts=5))
    run(hands, "raised")
    for _ in range(5):
        run(hands, "snoozed")
    run(hands, "stopped")
    for _ in range(40):
        run(hands, "snoozed")
    assert hands.job("a")["runs"] == 47
    assert runs(hands) == [(1, "failed"), (7, "released")] + [(n, "snoozed") for n in range(38, 48)]
    assert hands.job("a")["runs_dropped"] == 35
    assert inspection.faults(hands.store) == []
    run(hands, "returned")
    found = hands.store.record("a")
    assert found is not None
    assert [one["run"] for one in found[1]] == [1, 7, *range(38, 49)]
    assert found[1][-1]["status"] == "completed"


def test_what_was_said_in_runs_that_are_gone_goes_with_them(hands: Hands) -> None:
    hands.submit("a")
    now = hands.clock.now()
    for n in range(1, 16):
        lease = hands.claim_one("a")
        said = [NoteRow(lease.seq, n, now, 0, f"run {n}", 0, None)]
        hands.store.exchange([hands.outcome(lease, "snoozed")], None, now, said=said)
    assert [part.text for part in hands.store.output("a")] == [f"run {n}" for n in range(6, 16)]


def test_each_job_of_an_exchange_loses_its_own(hands: Hands) -> None:
    hands.submit(*[new_job(job_id) for job_id in "abc"])
    for n in range(14):
        leases = hands.claim(3)
        ends: dict[str, End] = {"a": "snoozed", "b": "snoozed" if n > 7 else "stopped", "c": "stopped"}
        hands.exchange([hands.outcome(lease, ends[lease.id]) for lease in leases])
    assert [hands.job(job_id)["runs_dropped"] for job_id in "abc"] == [4, 0, 0]
    assert [len(hands.runs(job_id)) for job_id in "abc"] == [10, 14, 14]
