"""``gigq limit``: limits by key, as they are in force."""

from __future__ import annotations

from typing import Any

import click

from gigq.cli import exits, output
from gigq.cli.options import Group, Settings, pass_settings


@click.group("limit", cls=Group)
def limit() -> None:
    """See and set how many jobs of a key run at once, and start within a time."""


@limit.command("list")
@click.argument("key", required=False)
@click.option("--limit", "most", default=100, show_default=True, type=click.IntRange(min=0), help="How many.")
@pass_settings
def list_(settings: Settings, key: str | None, most: int) -> int:
    """List limits, or the one of KEY: what they allow, what runs, and how many jobs wait."""
    with settings.existing() as queue:
        found = [] if queue is None else queue.limits(key, most)
    if settings.json:
        output.as_json(found)
    elif found:
        output.table(
            ["Key", "Concurrency", "Rate", "Running", "Started", "Waiting", "Backs off until"],
            [_row(one) for one in found],
        )
    else:
        output.say("No limits." if key is None else f"No limit {output.one_line(key)}.")
    return exits.REFUSED if key is not None and not found else exits.OK


def _row(one: dict[str, Any]) -> list[str]:
    shown = {
        name: "-" if one[name] is None else f"{one[name]}{' (set)' if name in one['set_here'] else ''}"
        for name in ("concurrency", "rate")
    }
    until = one["backs_off_until"]
    return [
        one["key"],
        shown["concurrency"],
        shown["rate"],
        str(one["running"]),
        str(one["started"]),
        str(one["waiting"]),
        output.time(until) if until else "",
    ]


@limit.command("set")
@click.argument("key")
@click.option("--concurrency", metavar="N|none", help="How many may run at once.")
@click.option("--rate", metavar="N/TIME|none", help="How many may start within a time: 100/min, 5/s, 20/30s.")
@pass_settings
def set_(settings: Settings, key: str, concurrency: str | None, rate: str | None) -> int:
    """Set a limit for all workers from now on, whatever jobs declare; what is not given stays."""
    return _change(
        settings,
        key,
        concurrency=... if concurrency is None else _number_or_none(concurrency),
        rate=... if rate is None else None if rate == "none" else rate,
    )


@limit.command("reset")
@click.argument("key")
@pass_settings
def reset(settings: Settings, key: str) -> int:
    """Let what jobs declare count again, and end a back-off."""
    return _change(settings, key, reset=True)


def _change(settings: Settings, key: str, **what: Any) -> int:
    from gigq.queue import JobQueue

    queue = JobQueue(settings.path, durability=settings.durability)
    try:
        queue.limit_key(key, **what)
        [now] = queue.limits(key)
    finally:
        queue.close()
    if settings.json:
        output.as_json(now)
    else:
        bounds = [
            f"{name} {'unbounded' if now[name] is None else now[name]}" for name in ("concurrency", "rate")
        ]
        output.say(f"{output.one_line(key)}: {', '.join(bounds)}.")
    return exits.OK


def _number_or_none(text: str) -> int | None:
    if text == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter("a whole number or none", param_hint="--concurrency") from None
