"""Retry, Snooze, Fail and Cancel: a running function says how its run ends, wherever it runs."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import controls
import jobs
import pytest
from clocks import TurnedClock

import gigq
from gigq import Cancel, Fail, InvalidJob, Job, JobError, JobQueue, Retry, Snooze, Worker
from gigq.clock import from_iso
from gigq.control import Control, retry_after
from gigq.worker import settling

Run = Callable[[list[Job]], dict[str, dict[str, Any]]]
Made = Callable[[], Control]


def due_in(record: dict[str, Any]) -> float | None:
    """Seconds from the end of the last run until the next."""
    if record["retry_after"] is None:
        return None
    ended = record["executions"][-1]["completed_at"]
    return (from_iso(record["retry_after"]) - from_iso(ended)) / 1e6


def shape(record: dict[str, Any]) -> tuple[Any, ...]:
    runs = [run["status"] for run in record["executions"]]
    return record["status"], record["attempts"], runs, due_in(record)


EXPECTED = {
    "retry": (("pending", 1, ["failed"], 60.0), "gigq.Retry: again in 60 s: busy"),
    "snooze": (("pending", 0, ["snoozed"], 120.0), "gigq.Snooze: for 120 s: too early"),
    "kind of snooze": (("pending", 0, ["snoozed"], 90.0), "controls.NotReady: for 90 s: not ready"),
    "fail": (("failed", 1, ["failed"], None), "gigq.Fail: no such customer"),
    "cancel": (("cancelled", 1, ["cancelled"], None), "gigq.Cancel: not wanted any more"),
}


def test_a_function_says_how_its_run_ends_wherever_it_runs(run: Run) -> None:
    functions = {"plain": controls.say, "async": controls.say_async}
    records = run(
        [
            Job(f"{kind} {name}", function, {"kind": kind}, max_attempts=3)
            for kind in EXPECTED
            for name, function in functions.items()
        ]
    )
    for name, record in records.items():
        expected, error = EXPECTED[name.rpartition(" ")[0]]
        assert shape(record) == expected, name
        assert record["error"].partition("\n")[0] == error
        assert record["executions"][0]["error"] == record["error"]


def test_the_error_that_was_the_reason_is_told_too(run: Run) -> None:
    records = run([Job(kind, controls.say_from, {"kind": kind}) for kind in EXPECTED])
    for record in records.values():
        assert "FileNotFoundError: " in record["error"]


def turn_to(clock: TurnedClock, record: dict[str, Any]) -> None:
    clock.turn((from_iso(record["retry_after"]) - clock.now()) / 1e6)


def test_a_retry_costs_an_attempt_and_the_last_one_fails(
    queue: JobQueue, worker: Worker, clock: TurnedClock
) -> None:
    job = queue.submit(Job("one", controls.say, {"kind": "retry"}, max_attempts=2))
    assert worker.process_one()
    assert not worker.process_one(), "not before its time"
    turn_to(clock, queue.get_status(job))
    assert worker.process_one()
    record = queue.get_status(job)
    assert (record["status"], record["attempts"]) == ("failed", 2)
    assert [run["status"] for run in record["executions"]] == ["failed", "failed"]


def test_a_retry_without_a_delay_waits_as_long_as_any_other(
    queue: JobQueue, worker: Worker, clock: TurnedClock
) -> None:
    job = queue.submit(Job("one", controls.say, {"kind": "retry at once"}, retry_delay=7))
    worker.process_one()
    assert from_iso(queue.get_status(job)["retry_after"]) - clock.now() == 7_000_000


def test_a_snooze_costs_no_attempt_however_often_even_where_there_is_only_one(
    queue: JobQueue, worker: Worker, clock: TurnedClock
) -> None:
    job = queue.submit(Job("one", controls.say, {"kind": "snooze"}, max_attempts=1))
    for n in range(1, 6):
        assert worker.process_one()
        record = queue.get_status(job)
        assert (record["status"], record["attempts"]) == ("pending", 0)
        assert [run["status"] for run in record["executions"]] == ["snoozed"] * n
        turn_to(clock, record)


def test_a_cancelled_job_takes_those_that_wait_for_it_along(queue: JobQueue, worker: Worker) -> None:
    parent = Job("parent", controls.say, {"kind": "cancel"})
    child = Job("child", jobs.nothing, dependencies=[parent.id])
    queue.submit_many([parent, child])
    worker.process_one()
    assert queue.get_status(child.id)["status"] == "cancelled"
    assert queue.requeue_job(parent.id)
    assert queue.get_status(child.id)["status"] == "pending"


@pytest.mark.parametrize("kind", ["retry", "snooze"])
def test_a_run_that_was_asked_to_stop_does_not_come_again(
    queue: JobQueue, clock: TurnedClock, kind: str
) -> None:
    """Its worker has not looked yet, when the function says that it wants another run."""
    from gigq.store.claiming import Claim

    job = queue.submit(Job("one", controls.say, {"kind": kind}))
    [lease] = queue._store.exchange([], Claim(1, 1), clock.now()).claimed
    assert queue.cancel(job, running=True)
    end = {"retry": "raised", "snooze": "snoozed"}[kind]
    settlement = settling.decide(lease, end, clock.now(), started_at=clock.now(), error="why", delay=60)  # type: ignore[arg-type]
    assert not queue._store.exchange([settlement], None, clock.now()).lost
    record = queue.get_status(job)
    assert (record["status"], record["retry_after"]) == ("cancelled", None)
    assert record["error"] == "cancelled while it ran (why)"
    assert queue.stats()["cancelled"] == 1


def test_a_kind_of_retry_that_cannot_be_looked_at_is_an_error_like_any_other(
    queue: JobQueue, worker: Worker
) -> None:
    job = queue.submit(Job("one", controls.say, {"kind": "hostile"}))
    assert worker.process_one()
    record = queue.get_status(job)
    assert (record["status"], record["attempts"], record["retry_after"]) == ("pending", 1, None)


# -- Retry-After -------------------------------------------------------------------------------------------------


def test_retry_after_of_a_response_is_passed_on(run: Run) -> None:
    headers = {"Retry-After": "120"}
    record = run([Job("one", controls.pass_on, {"headers": headers})])["one"]
    assert shape(record) == ("pending", 1, ["failed"], 120.0)
    assert "HTTPError: 503 Service Unavailable" in record["error"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("17", 17),
        (" 1.5 ", 1.5),
        ("-3", 0),
        ("9" * 30, 86_400),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Mon, 99 Foo 2026 00:00:00 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
    ],
)
@pytest.mark.parametrize("holder", ["error", "response", "urllib"])
def test_both_forms_of_retry_after_are_read(text: str, seconds: float | None, holder: str) -> None:
    error = controls.HTTPError({"Retry-After": text})
    held: Any = {"error": error, "response": error.response}.get(holder)
    if holder == "urllib":
        held = controls.Response({"retry-after": text})
    assert retry_after(held) == seconds


@pytest.mark.parametrize("zone", [UTC, None])
def test_a_date_in_retry_after_is_a_moment(zone: Any) -> None:
    date = (datetime.now(UTC) + timedelta(minutes=10)).replace(tzinfo=zone)
    text = format_datetime(date, usegmt=zone is not None)
    asked = retry_after(controls.HTTPError({"Retry-After": text}))
    assert asked is not None
    assert 590 < asked <= 600


@pytest.mark.parametrize("response", [None, object(), ValueError("x"), controls.Response({})])
def test_without_the_header_the_policy_says_how_long(response: Any) -> None:
    assert retry_after(response) is None
    assert Retry.from_response(response, "why").delay is None


# -- values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), "60", True, 1e12, timedelta(seconds=-1)])
@pytest.mark.parametrize("kind", [Retry, Snooze])
def test_what_is_no_duration_is_refused_where_it_is_written(kind: type[Retry | Snooze], bad: Any) -> None:
    with pytest.raises(InvalidJob, match=rf"{kind.__name__}: (after|for_): seconds from 0 up"):
        kind(bad)


def test_a_duration_is_seconds_or_a_timedelta() -> None:
    assert Retry(1.5).delay == Retry(timedelta(milliseconds=1500)).delay == 1_500_000
    assert Snooze(0).delay == 0


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Retry(), "again"),
        (Retry(after=0.5), "again in 0.5 s"),
        (Retry(reason="why"), "again: why"),
        (Snooze(timedelta(hours=1)), "for 3600 s"),
        (Fail("why"), "why"),
        (Cancel(), ""),
    ],
)
def test_it_says_what_it_means_and_survives_pickle(error: Control, text: str) -> None:
    assert str(error) == text
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.delay) == (type(error), text, error.delay)


def test_all_are_errors_of_a_job() -> None:
    for kind in (Retry, Snooze, Fail, Cancel):
        assert issubclass(kind, JobError)
        assert getattr(gigq, kind.__name__) is kind
