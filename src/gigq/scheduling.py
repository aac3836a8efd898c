"""What a client can ask about schedules: the part of JobQueue that makes jobs come by themselves."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from gigq import callables, codec, log, posting, schedule
from gigq.clock import SECOND, to_iso
from gigq.errors import InvalidSchedule
from gigq.job import Job
from gigq.schedule import Policy, Rule
from gigq.task import TaskWrapper

if TYPE_CHECKING:
    from types import ModuleType

    from gigq.clock import Clock
    from gigq.store import Store
    from gigq.store.schedules import ScheduleRow

_LONGEST_NAME = 200
_SHOWN = 3
"""Ticks to come that a list shows."""
_TAKES_NO = ("dependencies", "pass_parent_results", "on_parent_failure")
"""Job options that mean nothing to a job without parents of its own."""


class Scheduling:
    """Schedules of a queue."""

    clock: Clock
    max_params: int
    if TYPE_CHECKING:

        @property
        def _store(self) -> Store: ...

    def schedule(
        self,
        name: str | TaskWrapper[..., Any],
        task: Callable[..., Any] | str | None = None,
        *,
        cron: str | None = None,
        every: float | timedelta | None = None,
        at: datetime | str | None = None,
        timezone: str | None = None,
        params: dict[str, Any] | None = None,
        misfire: schedule.Misfire | None = None,
        catch_up: int | None = None,
        overlap: schedule.Overlap | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        **options: Any,
    ) -> bool:
        """
        Have a function run again and again: store a schedule, or change the one of that name.

        Workers make one job for each tick, at its time. The same call again changes nothing.

        Args:
            name: What the schedule is called; or a ``@task`` that declares one, which is called
                ``"module.function"``.
            task: A ``@task``, a function of a module or the script, or the text ``"module.function"``.
            cron: Five fields (minute, hour, day of month, month, day of week) as in crontab(5), or ``"@daily"`` and
                the like.
            every: Seconds, or a timedelta, of at least 0.1 s. Counted from ``start``, which is the first tick; without
                it from when the schedule was stored, one interval after which is the first.
            at: One moment.
            timezone: The zone of a cron expression, by its IANA name; UTC if not given. Times without an offset
                (``at``, ``start``, ``end``) are in this zone if it is given, and local otherwise.
            params: Parameters to pass to the function.
            misfire: What becomes of ticks that passed while no worker ran: ``"once"`` makes one job for all of them,
                ``"skip"`` none (a tick up to a minute late is not missed), ``"all"`` one for each.
            catch_up: How many missed ticks ``"all"`` makes good at most, the newest; 100 if not given.
            overlap: What becomes of a tick when the schedule's last job has not ended: ``"skip"`` leaves it out,
                ``"queue"`` lets its job wait for that, ``"allow"`` lets them run side by side. ``"skip"`` if not
                given, and ``"queue"`` with ``misfire="all"``.
            start: The first moment at which there may be a tick.
            end: The last one.
            **options: Of the jobs, as Job takes them; those of a ``@task`` are their defaults.

        Returns:
            Whether anything changed.

        Raises:
            InvalidSchedule: Something cannot be accepted, or there would never be a tick; nothing was written.
            InvalidJob: The same of an option of the jobs.
        """
        callables.end_load()
        if isinstance(name, TaskWrapper):
            if task is not None:
                raise InvalidSchedule("name: text is needed where a task follows")
            name, task = default_name(name), name
        of_rule = {
            "cron": cron,
            "every": every,
            "at": at,
            "timezone": timezone,
            "start": start,
            "end": end,
        }
        of_policy = {"misfire": misfire, "catch_up": catch_up, "overlap": overlap}
        given: dict[str, Any] = {
            field: value for field, value in {**of_rule, **of_policy}.items() if value is not None
        }
        if isinstance(task, TaskWrapper) and not given.keys() & {"cron", "every", "at"}:
            given = {**task.declared, **given}
        rule, policy = schedule.declared(**given)
        job = posting.template(_job(task, {} if params is None else params, options), self.max_params)
        return self._put(_known_name(name), rule, policy, job)

    def _put(self, name: str, rule: Rule, policy: Policy, job: str) -> bool:
        from gigq.store.schedules import Definition

        what = Definition(name, rule.text(), *policy, job)
        known = self._store.schedule(name)
        if known is not None and known.definition == what:
            return False
        now = self.clock.now()
        tick = rule.after(now, now)
        if tick is None and (known is None or known.rule != what.rule):
            field = "at" if rule.at is not None else "end"
            raise InvalidSchedule(
                f"{field}: schedule {name!r} would have no tick from now on; nothing was stored"
            )
        self._store.put_schedule(what, tick, now)
        log.scheduled(name, new=known is None)
        return True

    def schedules(self) -> list[dict[str, Any]]:
        """
        List the schedules, by name.

        Returns:
            Dictionaries of ``name cron every at timezone start end misfire catch_up overlap``, ``task`` (module.function),
            ``params``, ``paused``, ``next_at`` (the next tick; None while paused, and when none comes any more),
            ``next_ticks`` (up to three), ``last_tick``, ``last_job`` and its ``last_job_status``, ``skipped_at`` (the
            last tick without a job) and ``skipped_for`` (``"overlap"``, ``"misfire"``, ``"unique"``), ``error`` (why the next tick
            has no job yet; else that of the last job) and ``error_at``, ``created_at``, ``updated_at``. Times are ISO
            8601 in UTC, durations seconds.
        """
        return [_shown(row) for row in self._store.schedules()]

    def unschedule(self, name: str) -> bool:
        """
        Remove a schedule; the jobs that it made stay.

        Returns:
            False if there is none of that name.
        """
        return self._store.drop_schedule(name)

    def pause_schedule(self, name: str) -> bool:
        """
        Let a schedule rest: its ticks pass without a job until :meth:`resume_schedule`.

        Returns:
            False if there is none of that name, or if it is paused already.
        """
        return self._store.pause_schedule(name, self.clock.now())

    def resume_schedule(self, name: str) -> bool:
        """
        Go on with a paused schedule from the next tick on; those that passed meanwhile are not made good.

        Returns:
            False if there is none of that name, or if it is not paused.
        """
        row = self._store.schedule(name)
        if row is None:
            return False
        now = self.clock.now()
        return self._store.resume_schedule(row, Rule.of(row.rule).after(now, row.anchor), now)

    def run_schedule(self, name: str) -> str:
        """
        Make a job of a schedule now, beside its ticks, paused or not. Its tick is this moment.

        Unless the schedule allows overlap, it waits for the job before it.

        Returns:
            The job ID.

        Raises:
            InvalidSchedule: There is none of that name.
        """
        row, now = self._known(name), self.clock.now()
        job = posting.from_template(row.job, now, now)
        job_id = self._store.run_now(row, job, now)
        log.submitted(job_id, job.name)
        return job_id

    def backfill(self, name: str, start: datetime | str, end: datetime | str | None = None) -> int:
        """
        Make the jobs of past ticks that have none: those before the schedule was stored, skipped, or missed.

        They are added oldest first, 500 in a transaction. Unless the schedule allows overlap, each waits for the one
        before it. The schedule's own ``start`` and ``end`` do not matter here.

        Args:
            name: The schedule.
            start: The first moment; in the schedule's zone if it has no offset.
            end: The last moment, not in the future; now if not given.

        Returns:
            How many jobs were added.

        Raises:
            InvalidSchedule: There is none of that name, or the range is none.
        """
        row, now = self._known(name), self.clock.now()
        rule = Rule.of(row.rule)
        first = schedule.moment(start, "start", rule.timezone)
        last = now if end is None else schedule.moment(end, "end", rule.timezone)
        if last < first:
            raise InvalidSchedule(f"end: {end or 'now'} is before start, {start}")
        if last > now:
            raise InvalidSchedule(f"end: {end} is in the future; ticks that come get their jobs in time")
        anchor = row.anchor if rule.start is None else rule.start
        ticks = rule.in_the_past().between(first, last, anchor)
        added = 0
        while batch := list(itertools.islice(ticks, schedule.AT_ONCE)):
            jobs = [(tick, posting.from_template(row.job, now, now)) for tick in batch]
            added += self._store.add_ticks(row, jobs, now).new
        return added

    def _known(self, name: str) -> ScheduleRow:
        row = self._store.schedule(name)
        if row is None:
            raise InvalidSchedule(
                f"there is no schedule named {name!r:.200}. schedules() lists those that there are."
            )
        return row


def default_name(task: TaskWrapper[..., Any]) -> str:
    """What the schedule that a task declares is called: ``module.function``, with the script's name for a module."""
    module, name, script = callables.refer(task)
    if module == "__main__" and script is not None and not script.startswith("process:"):
        from pathlib import Path

        module = Path(script).stem
    return f"{module}.{name}"


def declared_in(module: ModuleType) -> list[TaskWrapper[..., Any]]:
    """The tasks of a module that declare a schedule; of those that it imports, the ones of its own submodules."""
    own = f"{module.__name__}."
    return [
        found
        for found in vars(module).values()
        if isinstance(found, TaskWrapper) and found.declared and f"{found.__module__}.".startswith(own)
    ]


def _known_name(name: str) -> str:
    if not isinstance(name, str) or not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidSchedule(
            f"name: printable text of at most {_LONGEST_NAME} characters is needed, not {name!r:.250}"
        )
    return name


def _job(task: Callable[..., Any] | str | None, params: dict[str, Any], options: dict[str, Any]) -> Job:
    """What the schedule makes, checked.

    Raises:
        InvalidSchedule, InvalidJob: naming the field.
    """
    if task is None:
        raise InvalidSchedule("task: a @task, a function, or the text 'module.function' is needed")
    for field in _TAKES_NO:
        if field in options:
            raise InvalidSchedule(f"{field}: the jobs of a schedule have no parents of their own")
    job = _made(task, params, options)
    if job.run_at is not None:
        raise InvalidSchedule("run_at: the jobs of a schedule start at their ticks; delay= moves them")
    for field in ("expires", "deadline"):
        if isinstance(getattr(job, field), datetime | str):
            raise InvalidSchedule(f"{field}: seconds or a timedelta are needed, which count from the tick")
    return job


def _made(task: Callable[..., Any] | str, params: dict[str, Any], options: dict[str, Any]) -> Job:
    if isinstance(task, TaskWrapper):
        return task.with_options(params, options)
    name = task.rpartition(".")[2] if isinstance(task, str) else getattr(task, "__name__", "job")
    return Job(**{"name": name or "job", "function": task, "params": params, **options})


def _shown(row: ScheduleRow) -> dict[str, Any]:
    rule = Rule.of(row.rule)
    job = codec.decode(row.job)
    return {
        "name": row.name,
        "cron": rule.cron,
        "every": None if rule.every is None else _seconds(rule.every),
        "at": _iso(rule.at),
        "timezone": rule.timezone,
        "start": _iso(rule.start),
        "end": _iso(rule.end),
        "misfire": row.misfire,
        "catch_up": row.catch_up,
        "overlap": row.overlap,
        "task": f"{job['module']}.{job['function']}",
        "params": codec.decode(job["params"]),
        "paused": bool(row.paused),
        "next_at": _iso(row.tick_at),
        "next_ticks": [to_iso(tick) for tick in _upcoming(row, rule)],
        "last_tick": _iso(row.last_tick),
        "last_job": row.last_job,
        "last_job_status": row.job_status,
        "skipped_at": _iso(row.skipped_at),
        "skipped_for": row.skipped_for,
        "error": row.error or row.job_error,
        "error_at": _iso(row.error_at),
        "created_at": to_iso(row.created_at),
        "updated_at": to_iso(row.updated_at),
    }


def _upcoming(row: ScheduleRow, rule: Rule) -> list[int]:
    upcoming: list[int] = []
    tick = row.tick_at
    with contextlib.suppress(InvalidSchedule):  # this machine does not know its time zone
        while tick is not None and len(upcoming) < _SHOWN:
            upcoming.append(tick)
            tick = rule.after(tick, row.anchor)
    return upcoming


def _iso(moment: int | None) -> str | None:
    return None if moment is None else to_iso(moment)


def _seconds(duration: int) -> float:
    return duration // SECOND if duration % SECOND == 0 else duration / SECOND
