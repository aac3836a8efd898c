"""``gigq wait`` and ``gigq result``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gigq.cli import exits, output
from gigq.cli.jobs import find, not_found
from gigq.cli.options import Command, Settings, pass_settings
from gigq.log import harmless
from gigq.status import ENDED_BADLY, JobStatus

if TYPE_CHECKING:
    from gigq.queue import JobQueue

BADLY = frozenset(status.value for status in ENDED_BADLY)
_COMPLETED = JobStatus.COMPLETED.value


@click.command("wait", cls=Command)
@click.argument("job", metavar="JOB")
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Give up waiting after so long."
)
@pass_settings
def wait(settings: Settings, job: str, timeout: float | None) -> int:
    """Wait until a job has ended.

    The exit code is 0 if it completed, 3 if it failed, timed out or was cancelled, 4 if it had not ended in time.
    """
    with settings.existing() as queue:
        job_id = find(settings, queue, job)
        if queue is None or job_id is None:
            return exits.REFUSED
        found = _wait(settings, queue, job_id, timeout)
    if found is None:
        output.complain(not_found(settings, job_id))
        return exits.REFUSED
    if settings.json:
        output.as_json({key: found[key] for key in ("id", "name", "status", "attempts", "error")})
    if found["status"] == _COMPLETED:
        if not settings.json:
            output.say(f"Job {job_id} completed.")
        return exits.OK
    return badly(settings, found) if found["status"] in BADLY else _not_yet(settings, found, timeout)


@click.command("result", cls=Command)
@click.argument("job", metavar="JOB")
@click.option("--wait", "waits", is_flag=True, help="Wait until the job has ended.")
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="With --wait: give up after so long."
)
@pass_settings
def result(settings: Settings, job: str, waits: bool, timeout: float | None) -> int:
    """Print what a job's function returned.

    Text is printed as it is, anything else as JSON. The exit code is 3 if the job failed, timed out or was cancelled, 1 if it has not ended, 4 if it had not with
    --wait.
    """
    if timeout is not None and not waits:
        raise click.UsageError("--timeout says how long to wait: give --wait too.")
    with settings.existing() as queue:
        job_id = find(settings, queue, job)
        if queue is None or job_id is None:
            return exits.REFUSED
        found = _wait(settings, queue, job_id, timeout if waits else 0.0)
    if found is None:
        output.complain(not_found(settings, job_id))
        return exits.REFUSED
    if found["status"] == _COMPLETED:
        _print(found["result"], json=settings.json)
        return exits.OK
    if found["status"] in BADLY:
        return badly(settings, found)
    if waits:
        return _not_yet(settings, found, timeout)
    output.complain(
        f"Job {job_id} is {found['status']}, so it has no result yet. "
        f"Wait for it: {settings.command('result', job_id, '--wait')}"
    )
    return exits.REFUSED


def _wait(settings: Settings, queue: JobQueue, job_id: str, timeout: float | None) -> dict[str, Any] | None:
    from gigq import admin

    return admin.wait(queue, job_id, timeout, lambda: nobody_works(settings))


def nobody_works(settings: Settings) -> None:
    """Tell who waits that nothing will happen."""
    output.complain(
        f"No worker is running, so this may take for ever. Start one: {settings.command('worker')}"
    )


def _print(value: Any, *, json: bool) -> None:
    if isinstance(value, str) and not json:
        output.say(harmless(value))
    else:
        output.as_json(value)


def badly(settings: Settings, found: dict[str, Any]) -> int:
    """Tell how a job ended; the exit code for that."""
    job_id, status = found["id"], found["status"]
    what = {"failed": "failed", "timeout": "timed out", "cancelled": "was cancelled"}[status]
    reason = (found["error"] or "").partition("\n")[0]
    told = f": {output.one_line(reason)}" if reason else "."
    output.complain(f"Job {job_id} {what}{told}")
    output.complain(
        f"See more: {settings.command('status', job_id)}; run it again: {settings.command('requeue', job_id)}"
    )
    return exits.ENDED_BADLY


def _not_yet(settings: Settings, found: dict[str, Any], timeout: float | None) -> int:
    output.complain(
        f"Job {found['id']} is still {found['status']} after {timeout:g} s. "
        f"See more: {settings.command('status', found['id'])}"
    )
    return exits.TIMED_OUT
