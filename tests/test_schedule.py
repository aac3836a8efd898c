"""gigq.schedule: which moments a rule names, and what becomes of those that were missed."""

from __future__ import annotations

import itertools
import zoneinfo
from datetime import UTC, datetime, timedelta
from typing import Any

import cron_oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gigq import InvalidJob, InvalidSchedule, crontab, schedule
from gigq.clock import SECOND, from_datetime, from_iso, to_iso
from gigq.schedule import GRACE, Due, Policy, Rule

EXPRESSIONS = (
    "* * * * *",
    "*/10 * * * *",
    "30 * * * *",
    "0 * * * *",
    "*/7 0-23 * * *",
    "0 5 * * *",
    "30 2 * * *",
    "0,30 2 * * *",
    "*/10 2 * * *",
    "*/15 1-3 * * *",
    "0 */2 * * *",
    "0 0 * * *",
    "30 0 * * 0",
    "45 23 * * *",
    "*/20 0,23 * * 1-5",
    "15,45 1 * * 0,6",
    "59 23 31 * *",
    "0 12 13 * 5",
    "5 1,2,3 * 3,4,9-11 *",
)
HOUR = 3600 * SECOND


def iso(*moments: int) -> list[str]:
    return [to_iso(moment)[:16] for moment in moments]


def ticks(first: str, last: str, **what: Any) -> list[str]:
    """Those of a rule in a stretch of time, to the minute, in UTC."""
    return iso(*schedule.rule(**what).between(from_iso(first), from_iso(last), 0))


# -- cron and the clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "first", "last"),
    [
        ("Europe/Berlin", 2025, 2026),
        ("America/New_York", 2024, 2025),
        ("Australia/Lord_Howe", 2025, 2026),  # by half an hour
        ("America/Havana", 2025, 2026),  # at midnight
        ("America/Sao_Paulo", 2018, 2019),  # at midnight, back into the day before
    ],
)
def test_no_tick_is_missed_or_doubled_when_the_clocks_change(zone: str, first: int, last: int) -> None:
    """Beside an oracle that looks at every minute; the long form is tests/torture/test_cron.py."""
    changes = cron_oracle.transitions(zone, first, last)
    assert len(changes) == 2
    for change in changes:
        stretch = cron_oracle.Stretch(zone, change - timedelta(hours=30), change + timedelta(hours=30))
        begin, end = from_datetime(stretch.first), from_datetime(stretch.last)
        for cron in EXPRESSIONS:
            rule = schedule.rule(cron=cron, timezone=zone)
            expected = stretch.ticks(cron)
            assert list(rule.between(begin, end, 0)) == expected, (change, cron)
            for moment in range(
                from_datetime(change) - 2 * HOUR, from_datetime(change) + 2 * HOUR, HOUR // 3 + 1
            ):
                following = [tick for tick in expected if tick > moment]
                if following:
                    assert rule.after(moment, 0) == following[0], (moment, cron)


def test_in_words() -> None:
    """The clocks of Berlin jump on 2025-03-30 at 02:00 to 03:00, and go back on 2025-10-26 at 03:00 to 02:00."""
    berlin = {"timezone": "Europe/Berlin"}
    spring, autumn = ("2025-03-30T00:00Z", "2025-03-30T02:00Z"), ("2025-10-25T23:00Z", "2025-10-26T02:00Z")
    assert ticks(*spring, cron="30 2 * * *", **berlin) == ["2025-03-30T01:00"]
    assert ticks(*spring, cron="0,30 2 * * *", **berlin) == ["2025-03-30T01:00"]
    assert ticks(*spring, cron="30 * * * *", **berlin) == ["2025-03-30T00:30", "2025-03-30T01:30"]
    assert ticks(*autumn, cron="30 2 * * *", **berlin) == ["2025-10-26T00:30"]
    assert ticks(*autumn, cron="30 * * * *", **berlin) == [
        "2025-10-25T23:30",
        "2025-10-26T00:30",
        "2025-10-26T01:30",
    ]


@pytest.mark.parametrize(
    ("cron", "first"),
    [
        ("@yearly", "2026-01-01T00:00"),
        ("@annually", "2026-01-01T00:00"),
        ("@monthly", "2025-02-01T00:00"),
        ("@weekly", "2025-01-19T00:00"),
        ("@daily", "2025-01-16T00:00"),
        ("@midnight", "2025-01-16T00:00"),
        ("@hourly", "2025-01-15T13:00"),
        ("0 12 29 2 *", "2028-02-29T12:00"),
        ("0 0 L * *", "2025-01-31T00:00"),
        ("0 0 * * mon#3", "2025-01-20T00:00"),
        ("5 4 * jun fri", "2025-06-06T04:05"),
        ("  5   4 * 6   5 ", "2025-06-06T04:05"),
    ],
)
def test_the_first_tick_of_an_expression(cron: str, first: str) -> None:
    moment = from_iso("2025-01-15T12:34:56.789+00:00")
    tick = schedule.rule(cron=cron).after(moment, 0)
    assert tick is not None
    assert iso(tick) == [first]


def test_a_tick_is_not_its_own_successor_and_a_fraction_of_a_second_does_not_hide_it() -> None:
    rule = schedule.rule(cron="0 5 * * *")
    tick = from_iso("2025-01-15T05:00+00:00")
    assert rule.after(tick - 1, 0) == tick
    assert rule.after(tick, 0) == tick + 24 * HOUR


def test_the_calendar_ends() -> None:
    assert schedule.rule(cron="0 5 * * *").after(from_iso("9999-12-31T12:00+00:00"), 0) is None


# -- intervals and single moments ------------------------------------------------------------------------------


def test_an_interval_counts_from_its_start_or_else_from_its_anchor() -> None:
    start = from_iso("2025-01-01T00:00:10+00:00")
    with_start = schedule.rule(every=60, start="2025-01-01T00:00:10+00:00", end="2025-01-01T00:02:10+00:00")
    assert list(with_start.between(0, 2**60, 123)) == [start, start + 60 * SECOND, start + 120 * SECOND]
    without = schedule.rule(every=timedelta(minutes=1))
    assert without.after(start, start) == start + 60 * SECOND
    assert without.after(start - 1, start) == start
    assert without.after(start + 90 * SECOND, start) == start + 120 * SECOND


@given(
    every=st.integers(SECOND // 10, 10**12),
    anchor=st.integers(0, 2**52),
    moment=st.integers(0, 2**52),
)
def test_the_next_tick_of_an_interval_is_on_its_grid(every: int, anchor: int, moment: int) -> None:
    tick = Rule(every=every).after(moment, anchor)
    assert tick is not None
    assert moment < tick <= moment + every
    assert (tick - anchor) % every == 0


def test_one_moment_comes_once() -> None:
    rule = schedule.rule(at="2025-01-01T12:00+01:00")
    tick = from_iso("2025-01-01T11:00+00:00")
    assert (rule.after(0, 0), rule.after(tick - 1, 0), rule.after(tick, 0)) == (tick, tick, None)


def test_a_time_without_offset_is_in_the_zone_that_is_given_and_else_local() -> None:
    naive = datetime(2025, 7, 1, 12)
    assert schedule.rule(at=naive).at == from_datetime(naive)
    assert schedule.rule(at=naive, timezone="Asia/Tokyo").at == from_iso("2025-07-01T03:00+00:00")
    assert schedule.rule(at="2025-07-01T12:00", timezone="Asia/Tokyo").at == from_iso(
        "2025-07-01T03:00+00:00"
    )
    assert schedule.rule(at="2025-07-01T12:00+00:00", timezone="Asia/Tokyo").at == from_iso(
        "2025-07-01T12:00+00:00"
    )


@pytest.mark.parametrize(
    "what",
    [
        {"cron": "0 5 * * *", "timezone": "Europe/Berlin", "start": "2025-01-01T00:00Z"},
        {"every": 0.5, "end": datetime(2030, 1, 1, tzinfo=UTC)},
        {"at": "2025-01-01T00:00Z"},
    ],
)
def test_a_rule_comes_back_from_its_text(what: dict[str, Any]) -> None:
    rule = schedule.rule(**what)
    assert Rule.of(rule.text()) == rule


# -- what was missed -------------------------------------------------------------------------------------------

EVERY = 10 * SECOND


def _due(policy: Policy, late: int, rule: Rule | None = None) -> Due:
    """Of a schedule whose tick at 0 is late by so much."""
    return schedule.due(rule or Rule(every=EVERY), policy, 0, late, 0)


def test_a_tick_in_time_is_fired_whatever_the_policy() -> None:
    for misfire in ("once", "skip", "all"):
        assert _due(Policy(misfire), SECOND) == Due([0], EVERY)


def test_once_is_the_newest_of_all_that_were_missed() -> None:
    assert _due(Policy("once"), 95 * SECOND) == Due([9 * EVERY], 10 * EVERY)


def test_skip_leaves_out_what_is_late_by_more_than_the_grace() -> None:
    rare = Rule(every=24 * HOUR)
    assert _due(Policy("skip"), GRACE, rare) == Due([0], 24 * HOUR)
    assert _due(Policy("skip"), GRACE + 1, rare) == Due([], 24 * HOUR, missed=0)
    assert _due(Policy("skip"), 95 * SECOND) == Due([9 * EVERY], 10 * EVERY), "that one is in time"


def test_all_are_made_good_up_to_the_bound_and_a_piece_at_a_time() -> None:
    assert _due(Policy("all", 100), 35 * SECOND) == Due([0, EVERY, 2 * EVERY, 3 * EVERY], 4 * EVERY)
    assert _due(Policy("all", 2), 35 * SECOND) == Due([2 * EVERY, 3 * EVERY], 4 * EVERY)
    piece = _due(Policy("all", 1000), 999 * EVERY)
    assert piece.ticks == [n * EVERY for n in range(schedule.AT_ONCE)]
    assert piece.next == schedule.AT_ONCE * EVERY


def test_years_of_missed_minutes_cost_nothing_and_the_last_tick_is_the_last() -> None:
    first, now = from_iso("1990-01-01T00:00+00:00"), from_iso("2025-01-01T00:00:30+00:00")
    rule = schedule.rule(cron="* * * * *")
    due = schedule.due(rule, Policy("all", 3), first, now, 0)
    assert iso(*due.ticks) == ["2024-12-31T23:58", "2024-12-31T23:59", "2025-01-01T00:00"]
    january = schedule.rule(cron="* * * 1 *")
    due = schedule.due(january, Policy("once"), first, from_iso("2025-12-31T00:00:30+00:00"), 0)
    assert iso(*due.ticks) == ["2025-01-31T23:59"]
    ended = schedule.rule(cron="* * * * *", end="2000-01-01T00:00Z")
    assert schedule.due(ended, Policy("once"), first, now, 0) == Due(
        [from_iso("2000-01-01T00:00+00:00")], None
    )


@given(cron=st.sampled_from(EXPRESSIONS), minutes=st.integers(0, 10_000), count=st.integers(1, 20))
def test_the_newest_ticks_are_the_end_of_all_ticks(cron: str, minutes: int, count: int) -> None:
    rule = schedule.rule(cron=cron, timezone="Europe/Berlin")
    last = from_iso("2025-10-27T12:00+00:00")
    first = last - minutes * 60 * SECOND
    every = list(itertools.islice(rule.between(first, last, 0), 10_001))
    assert rule.newest(count, first, last, 0) == every[-count:]


def test_a_tick_that_newer_zone_data_does_not_know_is_fired_all_the_same() -> None:
    odd = from_iso("2025-01-01T05:00:01+00:00")
    assert schedule.due(schedule.rule(cron="0 5 * * *"), Policy(), odd, odd, 0).ticks == [odd]


# -- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({}, "cron, every, at: exactly one of them is needed, and none is given"),
        ({"cron": "* * * * *", "every": 5}, "exactly one of them is needed, not cron and every"),
        ({"cron": "61 * * * *"}, r"cron: '61 \* \* \* \*': bad minute"),
        ({"cron": "0 24 * * *"}, "cron: .*: bad hour"),
        ({"cron": "0 0 32 * *"}, "cron: .*: bad day-of-month"),
        ({"cron": "0 0 * 13 *"}, "cron: .*: bad month"),
        ({"cron": "0 0 * * funday"}, "cron: .*: bad day-of-week"),
        ({"cron": "0 0 */0 * *"}, "cron: .*: bad day-of-month"),
        ({"cron": "0 0 30 2 *"}, "cron: '0 0 30 2 [*]': no such date ever comes"),
        ({"cron": "0 0 31 4,6,9,11 *"}, "cron: .*: no such date ever comes"),
        ({"cron": "* * * *"}, "cron: five fields are needed"),
        ({"cron": "0 * * * * *"}, "cron: five fields are needed .*for seconds there is every="),
        ({"cron": ""}, "cron: five fields are needed"),
        ({"cron": "@reboot"}, "cron: '@reboot' is none of @hourly"),
        ({"cron": f"{'9' * 5000} * * * *"}, "cron: longer than 500 characters"),
        ({"cron": f"0 0 * * {','.join('1' * 300)}"}, "cron: longer than 500 characters"),
        ({"cron": 5}, "cron: text such as"),
        ({"every": 0}, "every: seconds, or a timedelta, of at least 0.1"),
        ({"every": -5}, "every: "),
        ({"every": True}, "every: "),
        ({"every": "5"}, "every: "),
        ({"every": float("nan")}, "every: "),
        ({"every": float("inf")}, "every: "),
        ({"every": timedelta(days=4000)}, "every: .*at most ten years"),
        ({"at": "soon"}, "at: a datetime, or text such as"),
        ({"at": 5}, "at: a datetime"),
        ({"at": "2025-01-01T00:00Z", "end": "2026-01-01T00:00Z"}, "start, end: a schedule with at="),
        (
            {"every": 5, "start": "2025-01-02", "end": "2025-01-01"},
            "end: 2025-01-01 is before start, 2025-01-02",
        ),
        ({"every": 5, "start": "2025-02-30"}, "start: a datetime"),
        (
            {"cron": "* * * * *", "timezone": "Mars/Olympus"},
            "timezone: 'Mars/Olympus' is not in this machine's",
        ),
        ({"cron": "* * * * *", "timezone": "../etc/passwd"}, "timezone: '../etc/passwd' is not"),
        ({"cron": "* * * * *", "timezone": "Europe"}, "timezone: 'Europe' is not"),
        ({"cron": "* * * * *", "timezone": "\x00"}, "timezone: "),
        ({"cron": "* * * * *", "timezone": ""}, "timezone: a name such as"),
        ({"cron": "* * * * *", "timezone": 1}, "timezone: a name such as"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_with_its_field(what: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidSchedule, match=told) as refused:
        schedule.rule(**what)
    assert isinstance(refused.value, InvalidJob | ValueError)


@given(st.text(alphabet="0123456789*/,-#LWmonJAN? @", max_size=30))
def test_any_text_is_an_expression_or_is_refused(text: str) -> None:
    try:
        rule = schedule.rule(cron=text)
    except InvalidSchedule:
        return
    assert rule.after(0, 0) is not None


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({"misfire": "never"}, "misfire: one of skip, once, all, not 'never'"),
        ({"overlap": "maybe"}, "overlap: one of skip, queue, allow"),
        ({"misfire": "all", "overlap": "skip"}, "misfire, overlap: 'all' makes good"),
        ({"catch_up": 5}, "catch_up: bounds misfire='all'"),
        ({"misfire": "all", "catch_up": 0}, "catch_up: a whole number from 1"),
        ({"misfire": "all", "catch_up": 1001}, "catch_up: a whole number from 1 to 1,000"),
        ({"misfire": "all", "catch_up": True}, "catch_up: a whole number"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_its_field(what: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidSchedule, match=told):
        schedule.policy(**what)


def test_what_a_policy_is_by_default() -> None:
    assert schedule.policy() == Policy("once", 100, "skip")
    assert schedule.policy("all") == Policy("all", 100, "queue")


def test_without_time_zone_data_utc_works_and_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> None:
        raise zoneinfo.ZoneInfoNotFoundError(name)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", missing)
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    crontab.zone_of.cache_clear()
    assert schedule.rule(cron="* * * * *").after(0, 0) == 60 * SECOND
    with pytest.raises(InvalidSchedule, match=r"no time zone data\. Install it: pip install tzdata"):
        schedule.rule(cron="* * * * *", timezone="Europe/Berlin")
