"""``gigq submit``."""

from __future__ import annotations

import inspect
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from gigq.cli import exits, imports, output
from gigq.cli.options import Command, Settings, pass_settings

if TYPE_CHECKING:
    from gigq.job import Job
    from gigq.queue import JobQueue


def _parameters(_context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    """``key=value`` each; the value is JSON if it parses as JSON, else the text itself."""
    params: dict[str, Any] = {}
    for word in given:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{word!r} is not of the form key=value.", param=option)
        try:
            # NaN and Infinity are not JSON, whatever Python's parser says.
            params[key] = json.loads(text, parse_constant=_refuse)
        except ValueError:
            params[key] = text
        except RecursionError:
            raise click.BadParameter(f"{key}: nested too deeply.", param=option) from None
    return params


def _metadata(
    context: click.Context, option: click.Parameter, given: tuple[str, ...]
) -> dict[str, Any] | None:
    return _parameters(context, option, given) or None


def _tags(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> list[str] | None:
    return list(given) or None


def _refuse(word: str) -> Any:
    raise ValueError(word)


def _seconds(_context: click.Context, option: click.Parameter, text: str | None) -> float | str | None:
    """Seconds above 0; the word ``none`` for no limit, which None (not given) is not."""
    if text is None or text.lower() == "none":
        return text and text.lower()
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise click.BadParameter(f"{text!r} is neither seconds above 0 nor 'none'.", param=option)
    return int(seconds) if seconds.is_integer() else seconds


def _seconds_or_time(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> float | str | None:
    """Seconds if it is a number, else the text of a moment, which the job looks at."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


_EPILOG = """\b
Examples:
  gigq submit mymodule.fetch -p url=https://example.com
  gigq submit mymodule.report -p year=2026 -p 'tags=["a"]' --priority 5
  gigq submit my.remind --queue mail --run-at 2026-12-24T18:00 --expires 3600
"""


@click.command("submit", cls=Command, epilog=_EPILOG)
@click.argument("function", metavar="MODULE.FUNCTION")
@click.option("--name", help="Name of the job.  [default: the function's]")
@click.option(
    "-p",
    "--param",
    "params",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_parameters,
    help="A parameter of the function, repeatable. The value is JSON if it parses as JSON, else text.",
)
@click.option("--priority", type=int, help="Higher runs first.  [default: 0]")
@click.option("--max-attempts", type=click.IntRange(min=1), help="How often it is tried.  [default: 3]")
@click.option(
    "--timeout",
    metavar="SECONDS",
    callback=_seconds,
    help="Seconds that a run may take; 'none' for no limit.  [default: 300]",
)
@click.option("--description", help="What it is for.")
@click.option(
    "--retry-delay",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Seconds before a failed run is repeated.  [default: 0]",
)
@click.option(
    "--retry",
    metavar="POLICY",
    help="In place of --retry-delay: seconds ('30'), one delay for each attempt ('1,5,60'), 'exponential' or "
    "'exponential:base=1,factor=2,cap=3600,jitter=no', or 'module.function', which is asked.",
)
@click.option("--queue", metavar="NAME", help="The queue it waits in.  [default: default]")
@click.option(
    "--run-at", metavar="TIME", help="Not before this moment, in ISO 8601; local time without an offset."
)
@click.option("--delay", type=click.FloatRange(min=0), metavar="SECONDS", help="Not before so long from now.")
@click.option(
    "--expires",
    metavar="SECONDS|TIME",
    callback=_seconds_or_time,
    help="Cancel it if it has not been started by then.",
)
@click.option(
    "--deadline",
    metavar="SECONDS|TIME",
    callback=_seconds_or_time,
    help="Stop it, and do not try it again, from then on.",
)
@click.option("--unique-key", metavar="KEY", help="Not if a job with this key is pending or running.")
@click.option(
    "--unique",
    is_flag=True,
    default=None,
    help="The same, with a key made from the function and its parameters.",
)
@click.option("--tag", "tags", multiple=True, callback=_tags, help="A tag to find it by, repeatable.")
@click.option(
    "--metadata",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_metadata,
    help="What else is to be known of it, repeatable; values as with --param.",
)
@pass_settings
def submit(settings: Settings, /, function: str, params: dict[str, Any], **options: Any) -> int:
    """Submit a function as a job.

    MODULE.FUNCTION is imported from the working directory or wherever Python finds it. If it is a @task, its options
    are the defaults of the flags.
    """
    given = chosen(options)
    try:
        found = imports.import_function(function)
        job = _job(found, params, given)
    except imports.CannotImport as reason:
        imports.complain(function, reason)
        return exits.REFUSED
    except TypeError as error:
        output.complain(f"Error: {output.one_line(function)} cannot take these parameters: {error}")
        output.complain("Pass each with -p key=value.")
        return exits.REFUSED

    from gigq.queue import JobQueue

    queue = JobQueue(settings.path, durability=settings.durability)
    try:
        job_id = queue.submit(job)
        if job_id != job.id:
            _tell_other(settings, job_id)
        elif settings.json:
            output.as_json({"id": job_id})
        else:
            output.say(f"Job submitted: {job_id}")
        hint(settings, queue)
    finally:
        queue.close()
    return exits.OK


def chosen(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as Job takes them."""
    given = {field: value for field, value in options.items() if value is not None}
    if given.get("timeout") == "none":
        given["timeout"] = None
    return given


def _tell_other(settings: Settings, job_id: str) -> None:
    """A job that was there already has the unique key."""
    if settings.json:
        output.as_json({"id": job_id, "submitted": False})
    else:
        output.say(f"Job not submitted, its unique key is taken by: {job_id}")


def _job(found: Any, params: dict[str, Any], given: dict[str, Any]) -> Job:
    """The job, with everything that can be refused refused before the database is touched.

    Raises:
        CannotImport: no worker could find the function.
        TypeError: it does not take these parameters.
        InvalidJob: a value cannot be accepted.
    """
    from gigq import callables, codec
    from gigq.errors import InvalidJob
    from gigq.job import Job
    from gigq.task import TaskWrapper

    try:
        callables.refer(callables.bare(found))
    except InvalidJob as error:
        raise imports.CannotImport(str(error)) from None
    if isinstance(found, TaskWrapper):
        if found.to_job().unique is not None:  # the task says more than the flag can
            given.pop("unique", None)
        job = found.with_options({}, given)
    else:
        job = Job(**{"name": getattr(found, "__name__", "job"), "function": found, **given})
    job.params = params
    job.check()
    codec.encode(params, "params", codec.MAX_PARAMS)
    fit(job.function, params)
    return job


def fit(function: Any, params: dict[str, Any]) -> None:
    """TypeError where the call must fail. What a decorator claims to wrap says nothing: it may add arguments."""
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # some builtins have none
        return
    signature.bind(**params)


def hint(settings: Settings, queue: JobQueue) -> None:
    """To a person only: a job that nobody will run is the first thing to wonder about."""
    if not sys.stderr.isatty():
        return
    from gigq import admin

    if not any(worker.alive for worker in admin.workers(queue)):
        output.complain(f"No worker is running. Start one: {settings.command('worker')}")
