"""``gigq logs``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from gigq.cli import exits, output, waiting
from gigq.cli.jobs import find, not_found
from gigq.cli.options import Command, Settings, pass_settings
from gigq.log import harmless

if TYPE_CHECKING:
    from gigq import admin


@click.command("logs", cls=Command)
@click.argument("job", metavar="JOB")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended, across its retries.")
@click.option("--run", type=click.IntRange(min=1), metavar="N", help="Only this run; 1 is the first.")
@pass_settings
def logs(settings: Settings, job: str, follow: bool, run: int | None) -> int:
    """Print what a job printed and logged, run after run.

    Of each run the newest 256 KiB are kept. The text goes to stdout, the headings to stderr. With --json each piece
    is one object on a line of its own.

    With --follow the exit code is that of 'gigq wait': 0 if the job completed, 3 if it failed, timed out or was
    cancelled. With --run too it ends with that run, and gives 0 if the job goes on.
    """
    from gigq import admin

    with settings.existing() as queue:
        job_id = find(settings, queue, job)
        if queue is None or job_id is None:
            return exits.REFUSED
        page = _Page(json=settings.json)
        nobody_works = (lambda: waiting.nobody_works(settings)) if follow else None
        with contextlib.closing(admin.output(queue, job_id, run, nobody_works)) as parts:
            for part in parts:
                page.add(part)
        page.end()
        found = queue.get_status(job_id)
    if not found["exists"]:
        output.complain(not_found(settings, job_id))
        return exits.REFUSED
    if run is not None and run > len(found["executions"]):
        output.complain(
            f"Job {job_id} has had {len(found['executions'])} runs, and is {found['status']}. "
            f"See them: {settings.command('status', job_id, '--show-executions')}"
        )
        return exits.REFUSED
    if page.is_empty:
        output.complain(f"Job {job_id} is {found['status']}; nothing was printed or logged.")
    if follow and found["status"] in waiting.BADLY:
        return waiting.badly(settings, found)
    return exits.OK


class _Page:
    """The text of several runs, as a terminal or a pipe may see it."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._run = 0
        self._held = ""
        """A carriage return whose line may go on in the next part."""
        self._is_midway = False
        """Whether the last line has no end yet."""

    @property
    def is_empty(self) -> bool:
        return self._run == 0

    def add(self, part: admin.Output) -> None:
        if self._json:
            self._run = part.run
            output.as_json(part._asdict(), indent=None)
            return
        if part.run != self._run:
            self.end()
            self._run = part.run
            output.complain(f"-- run {part.run}, {output.time(part.at)} --")
        self._write(part.text)

    def end(self) -> None:
        """The next line is another run's."""
        self._held = ""
        if self._is_midway:
            output.say()
            self._is_midway = False

    def _write(self, text: str) -> None:
        text = self._held + text
        self._held = "\r" if text.endswith("\r") else ""
        # A progress bar returns to the start of its line: each of its states becomes a line.
        shown = harmless(text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n"))
        if shown:
            output.say(shown, line=False)
            self._is_midway = not shown.endswith("\n")
