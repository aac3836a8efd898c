"""``gigq`` itself: its commands, in the order in which one meets them."""

from __future__ import annotations

import click

from gigq import __version__
from gigq.cli import (
    completion,
    database,
    doctor,
    exits,
    explain,
    jobs,
    limits,
    logs,
    queues,
    retain,
    schedule,
    submit,
    waiting,
    worker,
    workflow,
)
from gigq.cli.options import Group

_EPILOG = """\b
First steps:
  gigq submit mymodule.myfunction -p url=https://example.com
  gigq worker                 runs what is submitted; Ctrl-C ends it
  gigq list
  gigq result JOB

JOB is a job's id; a unique beginning or end of it is enough. Exit codes: 0 ok, 1 refused or not found, 2 usage,
3 the awaited job ended badly, 4 waiting timed out, 5 database unreachable, 130 interrupted.
"""


@click.group(
    cls=Group,
    name="gigq",
    invoke_without_command=True,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def program(context: click.Context) -> None:
    """GigQ: a job queue in a file.

    Submit Python functions as jobs; workers on this machine run each of them to its end, through crashes and
    restarts.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(exits.USAGE)


for command in (
    submit.submit,
    worker.worker,
    jobs.list_,
    jobs.status,
    explain.explain,
    waiting.result,
    waiting.wait,
    logs.logs,
    jobs.stats,
    jobs.cancel,
    jobs.requeue,
    jobs.clear,
    workflow.workflow,
    queues.queue,
    retain.retain,
    schedule.schedule,
    limits.limit,
    doctor.doctor,
    database.db,
    completion.completion,
):
    program.add_command(command)
