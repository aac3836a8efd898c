"""``gigq worker``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from gigq.cli import exits, imports, output
from gigq.cli.options import Command, Settings, pass_settings
from gigq.codec import HIGHEST_LIMIT

if TYPE_CHECKING:
    from gigq.worker import Worker


@click.command("worker", cls=Command, json=False)
@click.option(
    "--worker-id", envvar="GIGQ_WORKER_ID", show_envvar=True, help="Its name.  [default: a new one]"
)
@click.option(
    "--polling-interval",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    metavar="SECONDS",
    envvar="GIGQ_POLLING_INTERVAL",
    show_envvar=True,
    help="Seconds between two looks for jobs, where nothing tells of new ones.  [default: 5]",
)
@click.option("--once", is_flag=True, help="Run one job, if there is one, and end.")
@click.option("--concurrency", type=click.IntRange(min=1), default=1, show_default=True, help="Jobs at once.")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=25.0,
    metavar="SECONDS",
    help="After SIGINT or SIGTERM: seconds for running jobs to finish; then they are given back.  [default: 25]",
)
@click.option(
    "--max-result",
    type=click.IntRange(1, HIGHEST_LIMIT),
    metavar="BYTES",
    help="Of JSON that a result may take.  [default: 16000000]",
)
@click.option(
    "--import",
    "modules",
    metavar="MODULE",
    multiple=True,
    help="Import this before starting, repeatable.",
)
@pass_settings
def worker(
    settings: Settings,
    worker_id: str | None,
    polling_interval: float,
    once: bool,
    concurrency: int,
    grace: float,
    max_result: int | None,
    modules: tuple[str, ...],
) -> int:
    """Run jobs until told to stop.

    Ctrl-C, or SIGTERM, ends it: no new job is started, those that run may finish within the grace, and what does not
    is given back for another worker, without a charge. A second Ctrl-C ends it at once.
    """
    from gigq.log import setup_logging
    from gigq.worker import Worker
    from gigq.worker.signals import stop_on_signals

    path = settings.path
    imports.search_working_directory()
    for module in modules:
        try:
            imports.import_module(module)
        except imports.CannotImport as reason:
            imports.complain(module, reason)
            return exits.REFUSED
    setup_logging()
    made = Worker(
        path,
        worker_id,
        polling_interval,
        concurrency,
        grace=grace,
        durability=settings.durability,
        max_result=max_result,
    )
    at_work = True

    def interrupt(_times: int) -> None:
        if at_work:
            raise KeyboardInterrupt

    # While the worker has no handlers of its own: before it starts nothing runs, and process_one gives its job back.
    with stop_on_signals(interrupt):
        try:
            _work(made, once=once)
        except KeyboardInterrupt:
            return exits.INTERRUPTED if once else exits.OK
        finally:
            at_work = False
            made.close()
    return exits.OK


def _work(worker: Worker, *, once: bool) -> None:
    if once:
        output.say("Processed one job." if worker.process_one() else "No jobs available to process.")
        return
    with contextlib.suppress(output.NobodyReads):  # no reason not to work
        output.say(f"Starting worker {output.one_line(worker.worker_id)}...")
    worker.start()
