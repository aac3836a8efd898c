"""``gigq worker``."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click

from gigq.cli import exits, imports, output, restart, schedule
from gigq.cli.options import Command, Settings, pass_settings
from gigq.cli.sizes import Size
from gigq.codec import HIGHEST_LIMIT

if TYPE_CHECKING:
    from gigq.worker import Worker

_LEAST_MEMORY = 1_000_000


class _Option(click.Option):
    """One that means something to one executor only."""

    def __init__(self, *args: Any, only: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.only = only


def _queues(
    _context: click.Context, option: click.Parameter, text: str | None
) -> list[str] | dict[str, float] | None:
    """``mail,*``, or with weights ``mail=3,*=1``."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    pairs = [word.rpartition("=") for word in words]
    if not any(equals for _, equals, _ in pairs):
        return words
    try:
        weights = {name: float(weight) for name, equals, weight in pairs if equals}
    except ValueError:
        weights = {}
    if len(weights) < len(words):
        raise click.BadParameter(
            f"{text!r} is neither names nor names with weights, such as mail=3,*=1.", param=option
        )
    return weights


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
@click.option(
    "--queues",
    metavar="NAME,...",
    callback=_queues,
    help="Serve these, in this order; '*' is every other one: mail,*. With weights: mail=3,*=1.  [default: all]",
)
@click.option("--once", is_flag=True, help="Run one job in this process, if there is one, and end.")
@click.option(
    "--executor",
    type=click.Choice(["process", "thread"]),
    help="Run jobs in child processes, which can be stopped by force, or in threads.  [default: process, where there are such]",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    metavar="N",
    help="So many child processes: --executor process --concurrency N.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="N",
    help="Jobs at once: child processes, or threads.  [default: one a CPU core, or 1 thread]",
)
@click.option(
    "--async-slots",
    cls=_Option,
    only="process",
    type=click.IntRange(min=1),
    metavar="N",
    help="Coroutines at once in each child process.  [default: 100]",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=25.0,
    metavar="SECONDS",
    help="After SIGINT or SIGTERM: seconds for running jobs to finish; then they are given back.  [default: 25]",
)
@click.option(
    "--kill-grace",
    cls=_Option,
    only="process",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Between SIGTERM and SIGKILL, for a job that does not stop when it is asked to.  [default: 2]",
)
@click.option(
    "--max-jobs-per-child",
    cls=_Option,
    only="process",
    type=click.IntRange(min=1),
    metavar="N",
    help="Replace a child process after so many jobs.",
)
@click.option(
    "--max-memory",
    cls=_Option,
    only="process",
    type=Size(_LEAST_MEMORY),
    metavar="SIZE",
    help="End and replace a child process that takes more, such as 512MB or 1.5GiB.",
)
@click.option(
    "--max-abandoned",
    cls=_Option,
    only="thread",
    type=click.IntRange(min=0),
    metavar="N",
    help="Start anew when more threads than these hang in jobs that were given up.  [default: 16]",
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
    help="Import this before the first job, in each child process, and store the schedules of its tasks; repeatable.",
)
@pass_settings
def worker(
    settings: Settings,
    /,
    once: bool,
    executor: str | None,
    processes: int | None,
    concurrency: int | None,
    modules: tuple[str, ...],
    **options: Any,
) -> int:
    """Run jobs until told to stop.

    Each runs in a child process that stays warm from job to job, and is ended if a job does not stop otherwise.

    Ctrl-C, or SIGTERM, ends it: no new job is started, those that run may finish within the grace, and what does not
    is given back for another worker, without a charge. A second Ctrl-C ends it at once. The exit code is 1 if
    something could not be given back, or if the worker could not go on.
    """
    from gigq.cli.systemd import Supervisor
    from gigq.errors import TooManyAbandoned, WorkerFailed
    from gigq.log import setup_logging
    from gigq.worker import Worker
    from gigq.worker.signals import stop_on_signals

    executor, concurrency = _hands(executor, processes, concurrency)
    given = {name: value for name, value in options.items() if value is not None}
    _check_executor(executor, given)
    path, directory = settings.path, restart.working_directory()
    imports.search_working_directory()
    if once or executor == "thread":
        for module in modules:
            try:
                imports.import_module(module)
            except imports.CannotImport as reason:
                imports.complain(module, reason)
                return exits.REFUSED
    setup_logging()
    made = Worker(
        path,
        concurrency=concurrency,
        executor="process" if executor == "process" else "thread",
        imports=() if once else modules,
        durability=settings.durability,
        **given,
    )
    supervisor = Supervisor()
    if supervisor.is_there:
        made.on_turn = supervisor.turn
    at_work, was_told = True, False
    clogged: TooManyAbandoned | None = None

    def interrupt(_times: int) -> None:
        nonlocal was_told
        was_told = True
        if at_work:
            raise KeyboardInterrupt

    # While the worker has no handlers of its own: before it starts nothing runs, and process_one gives its job back.
    with stop_on_signals(interrupt):
        try:
            _register(settings, modules, imported=once or executor == "thread")
            _work(made, once=once)
        except TooManyAbandoned as reason:
            clogged = reason
        except KeyboardInterrupt as interrupted:
            failure = interrupted.__context__
            if isinstance(failure, WorkerFailed) and not isinstance(failure, TooManyAbandoned):
                raise failure from None  # one more signal does not make it a good end
            return exits.INTERRUPTED if once else exits.OK
        finally:
            at_work = False
            made.close()
    if clogged is not None and not was_told:
        raise restart.Wanted(str(clogged), directory)
    return exits.OK


def _hands(executor: str | None, processes: int | None, concurrency: int | None) -> tuple[str, int]:
    """What runs the jobs, and how many at once."""
    if processes is not None and concurrency is not None:
        raise click.UsageError("--processes N is --executor process --concurrency N: give one of them.")
    if processes is not None and executor == "thread":
        raise click.UsageError("--processes cannot be with --executor thread: give --concurrency.")
    if processes is not None:
        return "process", processes
    if executor is None:
        executor = "process" if os.name == "posix" else "thread"
    return executor, concurrency or (_cores() if executor == "process" else 1)


def _check_executor(executor: str, given: dict[str, Any]) -> None:
    about = {"process": "child processes", "thread": "threads"}
    for option in click.get_current_context().command.params:
        if isinstance(option, _Option) and option.name in given and option.only != executor:
            raise click.UsageError(
                f"{option.opts[0]} is about {about[option.only]}: it goes with --executor {option.only}, "
                f"and not with --executor {executor}."
            )


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _register(settings: Settings, modules: tuple[str, ...], *, imported: bool) -> None:
    """Store the schedules that tasks of the modules declare.

    What cannot be imported is told by whoever needs it. Where children run the jobs a process of its own does this:
    this one is spared what modules do, and take, when they are imported.
    """
    if not modules:
        return
    if imported:
        schedule.store_declared(settings, modules)
        return
    where = ["--db", settings.path, "--durability", settings.durability]
    command = [sys.executable, "-m", "gigq", "schedule", "register", *where, "--", *modules]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if done.returncode not in (exits.OK, exits.REFUSED):
        output.complain(f"The schedules of {', '.join(modules)} could not be stored. {done.stderr.strip()}")


def _work(worker: Worker, *, once: bool) -> None:
    from gigq.worker import capture

    if once:
        with capture.capturing():
            found = worker.process_one()
        output.say("Processed one job." if found else "No jobs available to process.")
        return
    with contextlib.suppress(output.NobodyReads):  # no reason not to work
        output.say(f"Starting worker {output.one_line(worker.worker_id)}...")
    worker.start()
