"""``gigq queue``: what is in the queues, and whether their jobs may start."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gigq.cli import exits, output
from gigq.cli.options import Group, Settings, pass_settings

if TYPE_CHECKING:
    from gigq.queue import JobQueue

T = TypeVar("T")


@click.group("queue", cls=Group)
def queue() -> None:
    """Pause, resume and limit queues.

    A job is in the queue 'default' unless it was submitted to another. Settings hold for all workers, at once.
    """


@contextlib.contextmanager
def _existing(settings: Settings) -> Iterator[JobQueue]:
    """StoreMissing where there is no file: a name that was mistyped is to make no queue."""
    from gigq import admin

    with settings.existing() as found:
        if found is None:
            raise admin.no_file(settings.path)
        yield found


@queue.command("list")
@pass_settings
def list_(settings: Settings) -> int:
    """Show the queues that have jobs or settings."""
    with settings.existing() as found:
        rows = found.queues() if found is not None else []
    if settings.json:
        output.as_json(rows)
    elif not rows:
        output.say("No queues found.")
    else:
        head = ["Queue", "State", "Pending", "Running", "Limit", "Ageing", "Total"]
        output.table(head, [_row(row) for row in rows], numbers=[2, 3, 4, 6], folds=1)
    return exits.OK


def _row(row: dict[str, Any]) -> list[str]:
    state = "open"
    if row["paused_at"] is not None:
        why = f" ({row['reason']})" if row["reason"] else ""
        state = f"paused since {output.time(row['paused_at'])}{why}"
    jobs = row["jobs"]
    cells = (
        row["name"],
        state,
        jobs["pending"],
        jobs["running"],
        row["concurrency"] or "-",
        f"{row['ageing']:g} s" if row["ageing"] else "-",
        jobs["total"],
    )
    return [output.one_line(cell) for cell in cells]


@queue.command("pause")
@click.argument("name", metavar="QUEUE")
@click.option("--reason", help="Why, for whoever wonders.")
@pass_settings
def pause(settings: Settings, name: str, reason: str | None) -> int:
    """Let no more jobs of a queue start. What runs goes on, and jobs can still be submitted."""
    with _existing(settings) as found:
        paused = found.pause(name, reason)
    if settings.json:
        output.as_json({"queue": name, "paused": True, "changed": paused})
    else:
        output.say(f"Queue {output.one_line(name)} {'paused' if paused else 'was paused already'}.")
    return exits.OK


@queue.command("resume")
@click.argument("name", metavar="QUEUE")
@pass_settings
def resume(settings: Settings, name: str) -> int:
    """Let the jobs of a paused queue start again."""
    with _existing(settings) as found:
        resumed = found.resume(name)
    if settings.json:
        output.as_json({"queue": name, "paused": False, "changed": resumed})
    else:
        output.say(f"Queue {output.one_line(name)} {'resumed' if resumed else 'was not paused'}.")
    return exits.OK


def _or_none(
    convert: Callable[[str], T], what: str
) -> Callable[[click.Context, click.Parameter, str], T | None]:
    """A number, or None for the word ``none``."""

    def parse(_context: click.Context, option: click.Parameter, text: str) -> T | None:
        try:
            return None if text.lower() == "none" else convert(text)
        except ValueError:
            raise click.BadParameter(f"{text!r} is neither {what} nor 'none'.", param=option) from None

    return parse


@queue.command("limit")
@click.argument("name", metavar="QUEUE")
@click.argument("concurrency", metavar="N|none", callback=_or_none(int, "a whole number"))
@pass_settings
def limit(settings: Settings, name: str, concurrency: int | None) -> int:
    """Set how many jobs of a queue run at once, at all workers together; 'none' for no limit."""
    with _existing(settings) as found:
        found.limit(name, concurrency)
    if settings.json:
        output.as_json({"queue": name, "concurrency": concurrency})
    elif concurrency is None:
        output.say(f"Queue {output.one_line(name)} has no limit.")
    else:
        output.say(f"Queue {output.one_line(name)} runs {concurrency} at once.")
    return exits.OK


@queue.command("age")
@click.argument("name", metavar="QUEUE")
@click.argument("every", metavar="SECONDS|none", callback=_or_none(float, "seconds"))
@pass_settings
def age(settings: Settings, name: str, every: float | None) -> int:
    """Let jobs that wait in a queue rise by one priority for each so many seconds; 'none' for never."""
    with _existing(settings) as found:
        found.age(name, every)
    if settings.json:
        output.as_json({"queue": name, "ageing": every})
    elif every is None:
        output.say(f"Priorities in queue {output.one_line(name)} stay as they are.")
    else:
        output.say(f"Priorities in queue {output.one_line(name)} rise by one every {every:g} s.")
    return exits.OK
