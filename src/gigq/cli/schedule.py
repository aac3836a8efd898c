"""``gigq schedule``: jobs that come by themselves."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from gigq.cli import exits, imports, output
from gigq.cli import submit as submitting
from gigq.cli.options import Command, Group, Settings, pass_settings

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NOT_OF_SCHEDULES = ("name", "run_at")
"""Options of ``gigq submit`` that the jobs of a schedule do not have."""


def _interval(_context: click.Context, option: click.Parameter, text: str | None) -> timedelta | None:
    """``90``, ``90s``, ``1.5h``."""
    if text is None:
        return None
    unit = _UNITS.get(text[-1:])
    try:
        return timedelta(seconds=float(text[:-1] if unit else text) * (unit or 1.0))
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no interval such as 90, 90s, 15m, 2h or 1d.", param=option
        ) from None


@click.group("schedule", cls=Group)
def schedule() -> None:
    """Have functions run again and again."""


_EPILOG = """\b
Examples:
  gigq schedule add nightly my.report --cron '0 5 * * *' --timezone Asia/Tokyo
  gigq schedule add refresh my.fetch --every 15m -p url=https://example.com
"""


@schedule.command("add", cls=Command, epilog=_EPILOG)
@click.argument("name")
@click.argument("function", metavar="MODULE.FUNCTION")
@click.option(
    "--cron", metavar="FIELDS", help="Minute, hour, day of month, month, day of week; or @daily and the like."
)
@click.option("--every", metavar="INTERVAL", callback=_interval, help="Such as 90s, 15m, 2h, 1d.")
@click.option("--at", metavar="TIME", help="Once, such as 2026-01-31T12:00.")
@click.option("--timezone", metavar="ZONE", help="Of --cron, and of times without an offset.  [default: UTC]")
@click.option(
    "--misfire",
    type=click.Choice(["once", "skip", "all"]),
    help="Ticks that pass while no worker runs: one job for all, none, or one each.  [default: once]",
)
@click.option(
    "--catch-up", type=click.IntRange(min=1), help="Missed ticks that 'all' makes good.  [default: 100]"
)
@click.option(
    "--overlap",
    type=click.Choice(["skip", "queue", "allow"]),
    help="While the last job has not ended: no job, one that waits, or one beside it.  [default: skip]",
)
@click.option("--start", metavar="TIME", help="No tick before it.")
@click.option("--end", metavar="TIME", help="No tick after it.")
@pass_settings
def add(settings: Settings, /, name: str, function: str, params: dict[str, Any], **options: Any) -> int:
    """Add a schedule, or change the one of that name.

    The same command again changes nothing. If the function is a @task, its options are the defaults of the flags.
    """
    from gigq.queue import JobQueue

    given = submitting.chosen(options)
    try:
        found = imports.import_function(function)
        submitting.fit(found, params)
    except imports.CannotImport as reason:
        imports.complain(function, reason)
        return exits.REFUSED
    except TypeError as error:
        output.complain(f"Error: {output.one_line(function)} cannot take these parameters: {error}")
        output.complain("Pass each with -p key=value.")
        return exits.REFUSED
    queue = JobQueue(settings.path, durability=settings.durability)
    try:
        is_new = all(row["name"] != name for row in queue.schedules())
        changed = queue.schedule(name, found, params=params, **given)
        [row] = [row for row in queue.schedules() if row["name"] == name]
        if settings.json:
            output.as_json({**row, "changed": changed})
        else:
            told = ("added" if is_new else "changed") if changed else "is as it was"
            output.say(f"Schedule {output.one_line(name)} {told}.")
            for tick in row["next_ticks"]:
                output.say(f"  next: {_in_zone(tick, row['timezone'])}")
        submitting.hint(settings, queue)
    finally:
        queue.close()
    return exits.OK


_shared_from = next(place for place, option in enumerate(add.params) if not option.expose_value)
add.params[_shared_from:_shared_from] = [
    option
    for option in submitting.submit.params
    if isinstance(option, click.Option) and option.expose_value and option.name not in _NOT_OF_SCHEDULES
]


@schedule.command("register", cls=Command)
@click.argument("modules", metavar="MODULE...", nargs=-1, required=True)
@pass_settings
def register(settings: Settings, modules: tuple[str, ...]) -> int:
    """Store the schedules that the tasks of a module declare.

    Those are tasks such as @task(cron="0 5 * * *"). 'gigq worker --import MODULE' does the same when it starts.
    """
    try:
        done = store_declared(settings, modules)
    except imports.CannotImport as reason:
        imports.complain(", ".join(modules), reason)
        return exits.REFUSED
    if settings.json:
        output.as_json([{"name": name, "changed": changed} for name, changed in done.items()])
        return exits.OK
    for name, changed in done.items():
        output.say(f"Schedule {output.one_line(name)} {'stored' if changed else 'is as it was'}.")
    if not done:
        output.complain("None of their tasks declares a schedule, as @task(cron=...) does.")
    return exits.OK


def store_declared(settings: Settings, modules: tuple[str, ...]) -> dict[str, bool]:
    """Store the schedules that the tasks of modules declare; by name, whether that changed anything.

    Raises:
        CannotImport: one of the modules.
    """
    from gigq.queue import JobQueue
    from gigq.scheduling import declared_in, default_name

    tasks = [task for module in modules for task in declared_in(imports.import_module(module))]
    if not tasks:
        return {}
    queue = JobQueue(settings.path, durability=settings.durability)
    try:
        return {default_name(task): queue.schedule(task) for task in tasks}
    finally:
        queue.close()


@schedule.command("list", cls=Command)
@pass_settings
def list_(settings: Settings) -> int:
    """List the schedules, by name."""
    with settings.existing() as queue:
        rows = [] if queue is None else queue.schedules()
    if settings.json:
        output.as_json(rows)
    elif not rows:
        output.say("No schedules found.")
    else:
        output.table(
            ["Name", "When", "Next", "Last", "Job", "Task"],
            [
                [
                    output.one_line(row["name"]),
                    _when(row),
                    "paused" if row["paused"] else output.time(row["next_at"]),
                    output.time(row["last_tick"]),
                    row["last_job_status"] or "-",
                    output.one_line(row["task"]),
                ]
                for row in rows
            ],
            folds=0,
        )
        for row in rows:
            if row["error"]:
                first = row["error"].partition("\n")[0]
                output.complain(f"{output.one_line(row['name'])}: {output.one_line(first)}")
    return exits.OK


@schedule.command("pause", cls=Command)
@click.argument("name")
@pass_settings
def pause(settings: Settings, name: str) -> int:
    """Let ticks pass without a job, until it is resumed."""
    with settings.existing() as queue:
        done = queue is not None and queue.pause_schedule(name)
    return _told(settings, name, "paused", done, ", or it is paused already")


@schedule.command("resume", cls=Command)
@click.argument("name")
@pass_settings
def resume(settings: Settings, name: str) -> int:
    """Go on from the next tick on."""
    with settings.existing() as queue:
        done = queue is not None and queue.resume_schedule(name)
    return _told(settings, name, "resumed", done, ", or it is not paused")


@schedule.command("remove", cls=Command)
@click.argument("name")
@pass_settings
def remove(settings: Settings, name: str) -> int:
    """Remove a schedule; the jobs that it made stay."""
    with settings.existing() as queue:
        done = queue is not None and queue.unschedule(name)
    return _told(settings, name, "removed", done)


@schedule.command("run", cls=Command)
@click.argument("name")
@pass_settings
def run(settings: Settings, name: str) -> int:
    """Make a job now, beside the ticks."""
    with settings.existing() as queue:
        if queue is None or not _is_known(queue.schedules(), name):
            return _told(settings, name, "run", False)
        job_id = queue.run_schedule(name)
        if settings.json:
            output.as_json({"id": job_id})
        else:
            output.say(f"Job submitted: {job_id}")
        submitting.hint(settings, queue)
    return exits.OK


@schedule.command("backfill", cls=Command)
@click.argument("name")
@click.argument("start")
@click.argument("end", required=False)
@pass_settings
def backfill(settings: Settings, name: str, start: str, end: str | None) -> int:
    """Make the jobs of past ticks that have none, from START to END (now, if not given).

    Times are in the schedule's zone if they have no offset: 2026-01-31, or 2026-01-31T12:00+01:00.
    """
    with settings.existing() as queue:
        if queue is None or not _is_known(queue.schedules(), name):
            return _told(settings, name, "filled", False)
        added = queue.backfill(name, start, end)
    if settings.json:
        output.as_json({"added": added})
    else:
        output.say(f"Added {added} jobs.")
    return exits.OK


def _is_known(rows: list[dict[str, Any]], name: str) -> bool:
    return any(row["name"] == name for row in rows)


def _told(settings: Settings, name: str, done: str, was_done: bool, else_why: str = "") -> int:
    shown = output.one_line(name)
    if settings.json:
        output.as_json({"name": name, done: was_done})
    elif was_done:
        output.say(f"Schedule {shown} {done}.")
    if not was_done:
        output.complain(
            f"Schedule {shown} was not {done}: there is none of that name{else_why}. "
            f"See which there are: {settings.command('schedule', 'list')}"
        )
    return exits.OK if was_done else exits.REFUSED


def _when(row: dict[str, Any]) -> str:
    if row["every"] is not None:
        return f"every {timedelta(seconds=row['every'])}"
    if row["at"] is not None:
        return "once"
    zone = "" if row["timezone"] == "UTC" else f" {row['timezone']}"
    return output.one_line(f"{row['cron']}{zone}")


def _in_zone(iso: str, timezone: str) -> str:
    from zoneinfo import ZoneInfo

    shown = datetime.fromisoformat(iso)
    if timezone != "UTC":
        shown = shown.astimezone(ZoneInfo(timezone))
    return f"{shown:%Y-%m-%d %H:%M:%S} {timezone}"
