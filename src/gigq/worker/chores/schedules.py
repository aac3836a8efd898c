"""Schedules that are due: their ticks become jobs. Whichever worker comes first does it; the others find it done."""

from __future__ import annotations

from gigq import log, posting, schedule
from gigq.clock import SECOND, Clock, to_iso
from gigq.errors import GigQError, InvalidJob, StoreError
from gigq.newjob import NewJob
from gigq.schedule import Policy, Rule
from gigq.store import Store
from gigq.store.schedules import Fired, Firing, Refusal, ScheduleRow

AT_ONCE = 200
"""Schedules in one transaction."""
_AGAIN = 60 * SECOND
"""Microseconds until a schedule is tried again whose job was refused."""


def fire(store: Store, clock: Clock) -> tuple[int, int | None]:
    """Make the jobs of what is due, as much as one transaction should carry; without a write if nothing is.

    Returns:
        How many jobs, and when to look again (microseconds UTC): in the past if there is more.
    """
    now = clock.now()
    following = store.next_tick()
    if following is None or following > now:
        return 0, following
    firings, refusals = _plan(store.schedules_due(now, AT_ONCE), now)
    fired = _fire(store, firings, refusals, now)
    if refusals:
        for refusal in refusals:
            log.schedule_refused(refusal.row.name, refusal.error)
        store.put_off(refusals, now + _AGAIN, now)
    for one in fired:
        _tell(one)
    return sum(len(one.jobs) for one in fired), store.next_tick()


def _plan(rows: list[ScheduleRow], now: int) -> tuple[list[Firing], list[Refusal]]:
    """What is to become of each; those beyond the bound stay due."""
    firings: list[Firing] = []
    refusals: list[Refusal] = []
    room = schedule.AT_ONCE
    for row in rows:
        try:
            firing = _plan_one(row, now)
        except InvalidJob as error:
            refusals.append(Refusal(row, str(error)))
            continue
        room -= len(firing.jobs)
        if room < 0 and firings:
            break
        firings.append(firing)
    return firings, refusals


def _plan_one(row: ScheduleRow, now: int) -> Firing:
    assert row.tick_at is not None  # noqa: S101 - it is due
    policy = Policy(row.misfire, row.catch_up, row.overlap)  # type: ignore[arg-type] # the table has only those
    due = schedule.due(Rule.of(row.rule), policy, row.tick_at, now, row.anchor)
    jobs: list[tuple[int, NewJob]] = [(tick, posting.from_template(row.job, tick, now)) for tick in due.ticks]
    return Firing(row, jobs, due.next, due.missed)


def _fire(store: Store, firings: list[Firing], refusals: list[Refusal], now: int) -> list[Fired]:
    """All in one transaction; if one of them is refused, each by itself."""
    if not firings:
        return []
    try:
        return store.fire(firings, now)
    except GigQError as error:
        if not _is_of_one(error):
            raise
        if len(firings) == 1:
            refusals.append(Refusal(firings[0].row, str(error)))
            return []
    return [fired for one in firings for fired in _fire(store, [one], refusals, now)]


def _is_of_one(error: GigQError) -> bool:
    """Whether a single job is to blame, and not the database."""
    return isinstance(error, InvalidJob) or type(error) is StoreError


def _tell(fired: Fired) -> None:
    for tick, job in fired.jobs:
        log.schedule_fired(fired.name, job.id, to_iso(tick))
    if fired.skipped is not None:
        log.schedule_skipped(fired.name, to_iso(fired.skipped), fired.skipped_for or "")
