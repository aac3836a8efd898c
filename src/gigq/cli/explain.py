"""``gigq explain``: why a job is not running."""

from __future__ import annotations

import click

from gigq.cli import exits, output
from gigq.cli.jobs import find
from gigq.cli.options import Command, Settings, pass_settings


@click.command("explain", cls=Command)
@click.argument("job", metavar="JOB")
@pass_settings
def explain(settings: Settings, job: str) -> int:
    """Say why a job is not running, or how it ended, and what to do about it."""
    with settings.existing() as queue:
        job_id = find(settings, queue, job)
        if queue is None or job_id is None:
            if settings.json:
                output.as_json({"exists": False})
            return exits.REFUSED
        told = queue.explain(job_id)
    if settings.json:
        output.as_json(told.as_dict())
    else:
        for line in (told.text, *told.advice):
            output.say(output.one_line(line))
    return exits.OK if told.status is not None else exits.REFUSED
