"""When a job may start and when it is too late: what callers may say, and what it means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import jobs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gigq import InvalidJob, Job, task
from gigq.clock import SECOND, from_datetime
from gigq.timing import NO_TIMES, Times, times_of

NOW = 1_750_000_000 * SECOND
LATER = datetime.fromtimestamp(NOW / SECOND + 60, UTC)
MINUTE = 60 * SECOND


def times(**options: Any) -> Times:
    return times_of(Job("one", jobs.nothing, **options), NOW)


def test_a_job_without_any_may_start_at_once_and_for_ever() -> None:
    assert times() is NO_TIMES
    assert NO_TIMES == (None, None, None, None, None)


@pytest.mark.parametrize(
    "given",
    [
        {"delay": 60},
        {"delay": timedelta(minutes=1)},
        {"run_at": LATER},
        {"run_at": LATER.astimezone(timezone(timedelta(hours=-7)))},
        {"run_at": LATER.isoformat()},
        {"run_at": LATER.astimezone().replace(tzinfo=None)},
        {"run_at": LATER.astimezone().replace(tzinfo=None).isoformat(" ")},
    ],
    ids=str,
)
def test_every_way_to_say_in_a_minute(given: dict[str, Any]) -> None:
    assert times(**given) == (NOW + MINUTE, None, None, None, None)


@pytest.mark.parametrize("given", [{"delay": 0}, {"delay": timedelta(0)}, {"run_at": "2001-01-01"}])
def test_what_is_due_already_waits_for_nothing(given: dict[str, Any]) -> None:
    assert times(**given).due_at is None


@pytest.mark.parametrize("value", [60, 60.0, timedelta(minutes=1), LATER, LATER.isoformat()])
def test_every_way_to_say_until_when(value: Any) -> None:
    assert times(expires=value) == (None, NOW + MINUTE, None, None, NOW + MINUTE)
    assert times(deadline=value) == (None, None, NOW + MINUTE, MINUTE, NOW + MINUTE)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_job_ends_at_the_earlier_of_the_two(expires: int, deadline: int) -> None:
    found = times(expires=expires, deadline=deadline)
    assert (
        found.ends_at
        == min(found.expires_at or 0, found.deadline_at or 0)
        == NOW + SECOND * min(expires, deadline)
    )


def test_a_moment_that_is_past_is_no_mistake_of_the_caller() -> None:
    past = datetime.fromtimestamp(NOW / SECOND - 5, UTC)
    assert times(expires=past, delay=0).ends_at == from_datetime(past) == NOW - 5 * SECOND
    assert times(deadline=past).deadline is None, "a requeue cannot count it anew"


NO_MOMENTS: tuple[Any, ...] = (60, "", "tomorrow", "2026-02-30", b"2026-01-01", timedelta(1), "12:00")
NO_DELAYS: tuple[Any, ...] = (-1, "60", LATER, True, float("nan"), float("inf"), 1e12, timedelta(-1))
NO_ENDS: tuple[Any, ...] = (
    0,
    -1,
    "soon",
    True,
    float("nan"),
    timedelta(0),
    timedelta.max,
    [],
    LATER.date(),
    1e-9,
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("run_at", value) for value in NO_MOMENTS),
        *(("delay", value) for value in NO_DELAYS),
        *(("expires", value) for value in NO_ENDS),
        *(("deadline", value) for value in (*NO_ENDS, "2026-13-01")),
    ],
)
def test_what_is_no_time_is_refused_at_construction_with_the_name_of_the_field(
    field: str, value: Any
) -> None:
    with pytest.raises(InvalidJob, match=f"^job 'one': {field}: .* is needed, not "):
        Job("one", jobs.nothing, **{field: value})


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"run_at": LATER, "delay": 1}, "delay"),
        ({"run_at": LATER, "delay": 0}, "delay"),
        ({"delay": 60, "expires": 60}, "expires"),
        ({"delay": 61, "deadline": timedelta(minutes=1)}, "deadline"),
        ({"run_at": LATER, "expires": LATER}, "expires"),
        ({"run_at": LATER, "deadline": LATER - timedelta(seconds=1)}, "deadline"),
    ],
    ids=str,
)
def test_times_that_contradict_each_other_are_refused_at_construction(
    given: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidJob, match=f"^job 'one': {field}: "):
        Job("one", jobs.nothing, **given)


@pytest.mark.parametrize(
    ("given", "field"),
    [({"run_at": LATER, "expires": 60}, "expires"), ({"delay": 61, "deadline": LATER}, "deadline")],
    ids=str,
)
def test_a_moment_and_a_duration_are_compared_when_the_job_is_submitted(
    given: dict[str, Any], field: str
) -> None:
    job = Job("one", jobs.nothing, **given)
    with pytest.raises(InvalidJob, match=f"^job 'one': {field}: .* is not after .*so it could never start"):
        times_of(job, NOW)
    times_of(job, NOW + (10 * SECOND if field == "expires" else -10 * SECOND))


def test_fields_may_be_assigned_until_the_job_is_submitted() -> None:
    job = Job("one", jobs.nothing)
    job.delay = -1
    with pytest.raises(InvalidJob, match="delay"):
        job.check()


def test_a_task_is_told_where_it_is_written() -> None:
    with pytest.raises(InvalidJob, match="expires"):
        task(expires=0)(jobs.nothing)
    with pytest.raises(InvalidJob, match="queue"):
        task(queue="*")(jobs.nothing)
    assert task(queue="mail", expires=5, deadline=7, delay=1)(jobs.nothing).to_job().queue == "mail"


def test_a_task_can_be_used_with_other_options() -> None:
    slow = task(queue="slow", priority=3)(jobs.add)
    later = slow.using(delay=60, priority=4)
    made, other = later.to_job(a=1, b=2), slow.to_job(a=1, b=2)
    assert (made.queue, made.delay, made.priority, made.params) == ("slow", 60, 4, {"a": 1, "b": 2})
    assert (other.delay, other.priority) == (None, 3)
    assert later(1, 2) == 3
    with pytest.raises(TypeError, match="unexpected option wait"):
        slow.using(wait=1)
    with pytest.raises(InvalidJob, match="delay"):
        slow.using(delay="soon")
