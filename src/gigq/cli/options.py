"""What is asked before or after any command: which database, how durable, in which form."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from gigq.queue import JobQueue
    from gigq.store.connections import Durability

DEFAULT_DB = "gigq.db"


class Settings:
    """What the options that stand everywhere have said so far."""

    def __init__(self) -> None:
        self.db = os.environ.get("GIGQ_DB") or os.environ.get("GIGQ_DB_PATH") or DEFAULT_DB
        self.db_named = False
        """Whether it was named on the command line, so that hints must name it too."""
        self.durability: Durability = "full"
        self.json = False

    @property
    def path(self) -> str:
        """The database as an absolute path.

        Raises:
            click.UsageError: it can only live in another process.
            InvalidJob: it is no path.
        """
        if self.db == ":memory:":
            raise click.UsageError(
                "a queue in memory ends with its process, so there is nothing to see here. "
                "Name a file: --db jobs.db, or GIGQ_DB."
            )
        from gigq.queue import JobQueue

        return JobQueue(self.db, initialize=False).db_path

    def command(self, *words: str) -> str:
        """A command to try next, ready to be pasted."""
        where = ["--db", self.db] if self.db_named else []
        return shlex.join(["gigq", *where, *words])

    @contextlib.contextmanager
    def existing(self) -> Iterator[JobQueue | None]:
        """The queue, brought up to date if it is old; None where there is no file, which is not made then."""
        from gigq import admin

        queue = admin.open_existing(self.path, self.durability)
        try:
            yield queue
        finally:
            if queue is not None:
                queue.close()


def _shared(*, json: bool) -> list[click.Parameter]:
    options: list[click.Parameter] = [
        click.Option(
            ["--db"],
            metavar="FILE",
            expose_value=False,
            callback=_take_db,
            help=f"The queue's database file.  [default: GIGQ_DB, else {DEFAULT_DB}]",
        ),
        click.Option(
            ["--durability"],
            type=click.Choice(["full", "normal"]),
            expose_value=False,
            callback=_take_durability,
            help="What outlives a power cut: 'full' (default) everything, 'normal' all but the last moments.",
        ),
    ]
    if json:
        options.append(
            click.Option(
                ["--json"],
                is_flag=True,
                expose_value=False,
                callback=_take_json,
                help="Answer in JSON, for programs.",
            )
        )
    return options


def _take_db(context: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value is not None:
        settings = context.ensure_object(Settings)
        settings.db, settings.db_named = value, True


def _take_durability(context: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.ensure_object(Settings).durability = cast("Durability", value)


def _take_json(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Settings).json = True


class Command(click.Command):
    """A command that takes the shared options after its own."""

    def __init__(self, *args: Any, json: bool = True, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params += _shared(json=json)


class Group(click.Group):
    """Commands in the order in which they were added: that of a first acquaintance, not of the alphabet."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params += _shared(json=True)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


pass_settings = click.make_pass_decorator(Settings, ensure=True)
