"""Time: microseconds inside, ISO 8601 with offset outside, naive means local."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gigq import clock

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2500, 1, 1), timezones=st.just(UTC))


@pytest.fixture
def berlin() -> Iterator[None]:
    """A zone with summer time, whatever machine this is."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = BERLIN
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@given(MOMENTS)
def test_a_moment_survives_the_way_out_and_back(moment: datetime) -> None:
    text = clock.to_iso(clock.from_datetime(moment))
    assert datetime.fromisoformat(text) == moment
    assert clock.from_iso(text) == clock.from_datetime(moment)


@given(MOMENTS, st.integers(-12 * 60, 14 * 60))
def test_an_offset_changes_the_spelling_and_not_the_moment(moment: datetime, minutes: int) -> None:
    elsewhere = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert clock.from_iso(elsewhere.isoformat()) == clock.from_datetime(moment)


def test_what_is_shown_is_utc_with_its_offset() -> None:
    assert clock.to_iso(1_700_000_000_000_000) == "2023-11-14T22:13:20.000000+00:00"
    assert clock.to_iso(1_700_000_000_000_007) == "2023-11-14T22:13:20.000007+00:00"


@given(st.integers(0, 2**53))
def test_texts_sort_as_the_moments_do(moment: int) -> None:
    assert clock.to_iso(moment) < clock.to_iso(moment + 1)


@pytest.mark.usefixtures("berlin")
def test_a_naive_text_is_local_time() -> None:
    assert clock.to_iso(clock.from_iso("2026-07-01T12:00:00")) == "2026-07-01T10:00:00.000000+00:00"
    assert clock.to_iso(clock.from_iso("2026-01-01T12:00:00")) == "2026-01-01T11:00:00.000000+00:00"


@pytest.mark.usefixtures("berlin")
def test_a_day_alone_is_its_local_midnight() -> None:
    assert clock.to_iso(clock.from_iso("2026-01-01")) == "2025-12-31T23:00:00.000000+00:00"


@pytest.mark.parametrize("text", ["", "yesterday", "12:00", "2026-13-01"])
def test_what_is_not_a_timestamp_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        clock.from_iso(text)


@pytest.mark.parametrize(
    ("seconds", "micro"), [(0, 0), (1, 1_000_000), (0.1, 100_000), (1e-6, 1), (0.3, 300_000)]
)
def test_seconds_become_whole_microseconds(seconds: float, micro: int) -> None:
    assert clock.from_seconds(seconds) == micro


def test_the_clocks_of_this_machine_tell_wall_and_monotonic_time() -> None:
    before, monotonic = time.time_ns() // 1000, time.monotonic_ns()
    assert before <= clock.SYSTEM.now() <= time.time_ns() // 1000
    assert monotonic <= clock.SYSTEM.monotonic() <= time.monotonic_ns()
