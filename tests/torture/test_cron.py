"""K18: 30 time zones, every change of their clocks from 2015 to 2035, beside an oracle that looks at every minute."""

from __future__ import annotations

from datetime import timedelta

import cron_oracle
import pytest

from gigq import schedule
from gigq.clock import from_datetime

ZONES = (
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Johannesburg",
    "Africa/Windhoek",
    "America/Anchorage",
    "America/Asuncion",
    "America/Bogota",
    "America/Caracas",
    "America/Havana",
    "America/Los_Angeles",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/Volgograd",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Norfolk",
)
EXPRESSIONS = (
    "* * * * *",
    "*/10 * * * *",
    "30 * * * *",
    "0 0-23 * * *",
    "*/45 * 15-31 * *",
    "0 5 * * *",
    "30 2 * * *",
    "0,30 0-4 * * *",
    "*/10 2 * * *",
    "0 */2 * * *",
    "0 0 * * *",
    "59 23 * * 6",
    "1 0 1,2 * 0",
    "*/20 0,1,23 * 3,4,10,11 *",
)


@pytest.mark.torture
@pytest.mark.parametrize("zone", ZONES)
def test_no_tick_is_missed_or_doubled(zone: str) -> None:
    assert len(set(ZONES)) == 30
    for change in cron_oracle.transitions(zone, 2015, 2036):
        stretch = cron_oracle.Stretch(zone, change - timedelta(hours=36), change + timedelta(hours=36))
        begin, end = from_datetime(stretch.first), from_datetime(stretch.last)
        for cron in EXPRESSIONS:
            rule = schedule.rule(cron=cron, timezone=zone)
            assert list(rule.between(begin, end, 0)) == stretch.ticks(cron), (change, cron)
