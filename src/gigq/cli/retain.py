"""``gigq retain``: how long ended jobs are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from gigq.cli import exits, output
from gigq.cli.options import Command, Settings, pass_settings

_FOR_EVER = ("none", "forever")


def _age(_context: click.Context, option: click.Parameter, text: str | None) -> float | str | None:
    """Seconds, the word ``none``, or None where nothing is said."""
    from gigq import retention
    from gigq.clock import SECOND
    from gigq.errors import InvalidJob

    if text is None or text.lower() in _FOR_EVER:
        return text and "none"
    try:
        return retention.microseconds(text, "age") / SECOND
    except InvalidJob:
        raise click.BadParameter(
            f"{text!r} is neither an age such as 7d, 36h or 90s nor 'none'.", param=option
        ) from None


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for status in ("timeout", "cancelled", "failed", "completed"):
        command = click.option(
            f"--{status}",
            metavar="AGE",
            callback=_age,
            help=f"How long jobs that ended as {status} are kept.",
        )(command)
    return command


@click.command("retain", cls=Command)
@_options
@pass_settings
def retain(settings: Settings, /, **said: float | str | None) -> int:
    """Set, or show, how long jobs are kept after their end.

    AGE is 7d, 36h, 1d12h, 90s, ... or 'none' for ever, which is the default. Workers remove what is older, now and then,
    with its result and history; a job that others which have not completed depend on is spared.
    """
    from gigq import admin, retention

    ages = {status: None if age == "none" else age for status, age in said.items() if age is not None}
    with settings.existing() as queue:
        if queue is None:
            raise admin.no_file(settings.path)
        kept = queue.retain(**ages) if ages else queue.retention()
    if settings.json:
        output.as_json(kept)
    else:
        rows = [[status, "for ever" if age is None else retention.text(age)] for status, age in kept.items()]
        output.table(["Status", "Kept"], rows)
    return exits.OK
