"""``gigq status``, ``list``, ``stats``, ``cancel``, ``requeue``, ``clear``."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import click

from gigq.cli import exits, output
from gigq.cli.options import Command, Settings, pass_settings
from gigq.log import harmless
from gigq.queues import DEFAULT
from gigq.status import JobStatus

if TYPE_CHECKING:
    from gigq.queue import JobQueue

STATUSES = [status.value for status in JobStatus]
_DAYS = 36_500
_DAY = 86_400_000_000
_OTHERS = 65
"""Columns that a list needs beside ids and names; in a narrower terminal each job takes two lines."""
_NAME = 30
_ENDS = {"Expires": "expires_at", "Deadline": "deadline_at"}


def find(settings: Settings, queue: JobQueue | None, text: str) -> str | None:
    """The whole id of what was asked for; None, and told, if there is no such job."""
    from gigq import admin

    job_id = None if queue is None else admin.resolve(queue, text)
    if job_id is None:
        output.complain(not_found(settings, text))
    return job_id


def not_found(settings: Settings, text: str) -> str:
    return f"Job {output.one_line(text)} not found. See which there are: {settings.command('list')}"


@click.command("status", cls=Command)
@click.argument("job", metavar="JOB")
@click.option("--show-params", is_flag=True, help="Its parameters too.")
@click.option("--show-result", is_flag=True, help="Its result too.")
@click.option("--show-executions", is_flag=True, help="Its runs too, oldest first.")
@pass_settings
def status(settings: Settings, job: str, show_params: bool, show_result: bool, show_executions: bool) -> int:
    """Show one job."""
    with settings.existing() as queue:
        job_id = find(settings, queue, job)
        found: dict[str, Any] = {"exists": False}
        if queue is not None and job_id is not None:
            found = queue.get_status(job_id)
    if settings.json:
        output.as_json(found)
        return exits.OK if found["exists"] else exits.REFUSED
    if not found["exists"]:
        return exits.REFUSED
    _show(found)
    if show_params and found["params"]:
        output.say("\nParameters:")
        _show_values(found["params"])
    if show_result and found["result"] is not None:
        output.say("\nResult:")
        _show_values(found["result"])
    if show_executions and found["executions"]:
        output.say("\nExecutions:")
        output.table(
            ["ID", "Started", "Completed", "Status"],
            [
                [run["id"], output.time(run["started_at"]), output.time(run["completed_at"]), run["status"]]
                for run in found["executions"]
            ],
        )
    return exits.OK


def _show(found: dict[str, Any]) -> None:
    pairs = [
        ("Job", f"{found['name']} ({found['id']})"),
        ("Status", found["status"]),
        ("Created", output.time(found["created_at"])),
        ("Updated", output.time(found["updated_at"])),
        ("Started", output.time(found["started_at"])),
        ("Completed", output.time(found["completed_at"])),
        ("Attempts", f"{found['attempts']} / {found['max_attempts']}"),
    ]
    if found["queue"] != DEFAULT:
        pairs.append(("Queue", found["queue"]))
    if policy := _policy(found):
        pairs.append(("Retry", policy))
    if found["status"] == JobStatus.PENDING.value and found["retry_after"] and found["executions"]:
        pairs.append(("Next try", output.time(found["retry_after"])))
    elif found["run_at"]:
        pairs.append(("Not before", output.time(found["run_at"])))
    pairs += [(word, output.time(found[key])) for word, key in _ENDS.items() if found[key]]
    if found["tags"]:
        pairs.append(("Tags", ", ".join(found["tags"])))
    pairs += [(f"Metadata {key}", str(value)) for key, value in found["metadata"].items()]
    if found["schedule"]:
        pairs.append(("Schedule", f"{found['schedule']}, for {output.time(found['tick'])}"))
    if found["worker_id"]:
        pairs.append(("Worker", found["worker_id"]))
    if found["workflow"]:
        pairs.append(("Workflow", found["workflow"]))
    if found["progress"]:
        pairs.append(("Progress", _progress(**found["progress"])))
    first, _, rest = (found["error"] or "").partition("\n")
    if first:
        pairs.append(("Error", first))
    output.fields(pairs)
    for line in harmless(rest).strip("\n").splitlines():
        output.say(f"  {line}".rstrip())


def _policy(found: dict[str, Any]) -> str:
    from gigq import retry

    if found["retry"]:
        return retry.in_words(found["retry"])
    return f"after {found['retry_delay']:g} s" if found["retry_delay"] else ""


def _progress(done: float, total: float | None, message: str | None, **_: Any) -> str:
    """``3 / 10 (30 %) fetching``."""
    told = f"{done:.15g}" if total is None else f"{done:.15g} / {total:.15g}"
    if total:
        told += f" ({100 * done / total:.0f} %)"
    return f"{told} {message}" if message else told


def _show_values(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            output.say(f"  {output.one_line(key)}: {output.one_line(item)}")
    else:
        output.say(f"  {output.one_line(value)}")


@click.command("list", cls=Command)
@click.option("--status", "wanted", type=click.Choice(STATUSES), help="Only those.")
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True, help="How many at most.")
@click.option("--queue", metavar="NAME", help="Only those in this queue.")
@click.option("--task", metavar="MODULE.FUNCTION", help="Only those that run this function.")
@click.option("--tag", help="Only those with this tag.")
@click.option(
    "--search",
    metavar="TEXT",
    help="Only those with this text in their id, name, parameters, error, tags, ...",
)
@click.option("--before", metavar="JOB", help="Only those that were submitted before this one.")
@pass_settings
def list_(
    settings: Settings,
    /,
    wanted: str | None,
    limit: int,
    search: str | None,
    before: str | None,
    **filters: str | None,
) -> int:
    """List jobs, newest first."""
    from gigq.finding import JobList

    found = JobList()
    with settings.existing() as queue:
        if queue is not None:
            place = _place(settings, queue, before) if before else None
            if before and place is None:
                return exits.REFUSED
            found = queue.list_jobs(wanted, limit, search=search, before=place, **filters)
    if settings.json:
        output.as_json(found)
    elif not found:
        output.say("No jobs found.")
    else:
        _draw(found, search)
    if found.next and len(found) == limit:
        output.complain(
            f"These are the newest {limit}; --limit shows more, --before {found.next} those after them."
        )
    elif found.next:
        output.complain(f"There may be older ones: go on with --before {found.next}")
    return exits.OK


def _place(settings: Settings, queue: JobQueue, text: str) -> str | None:
    """Where to begin a list; None, and told, if there is no such job."""
    from gigq.finding import cursor_number

    return text if cursor_number(text) is not None else find(settings, queue, text)


def _draw(jobs: list[dict[str, Any]], search: str | None) -> None:
    from gigq.finding import excerpt

    rows = [_row(job) for job in jobs]
    if search:
        rows = [[*row, output.one_line(excerpt(job, search))] for row, job in zip(rows, jobs, strict=True)]
    ids, names = (max(len(row[place]) for row in rows) for place in (0, 1))
    if output.is_terminal() and shutil.get_terminal_size().columns < ids + _OTHERS + min(names, _NAME):
        stacked = [["\n".join([*row[:2], *row[6:]]), row[2], row[3], f"{row[4]}\n{row[5]}"] for row in rows]
        head = ["ID\nName", "Status", "Priority", "Created\nUpdated"]
        output.table(head, stacked, numbers=[2], folds=0, widest=ids)
    else:
        head = ["ID", "Name", "Status", "Priority", "Created", "Updated", *(["Found"] if search else [])]
        output.table(head, rows, numbers=[3], folds=1)


def _row(job: dict[str, Any]) -> list[str]:
    times = (output.time(job["created_at"]), output.time(job["updated_at"]))
    cells = (job["id"], job["name"], job["status"], job["priority"], *times)
    return [output.one_line(cell) for cell in cells]


@click.command("stats", cls=Command)
@pass_settings
def stats(settings: Settings) -> int:
    """Count the jobs by status."""
    with settings.existing() as queue:
        counts = queue.stats() if queue is not None else dict.fromkeys([*STATUSES, "total"], 0)
    if settings.json:
        output.as_json(counts)
    else:
        output.table(["Status", "Count"], [[word, str(count)] for word, count in counts.items()], numbers=[1])
    return exits.OK


@click.command("cancel", cls=Command)
@click.argument("job", metavar="JOB")
@click.option("--running", is_flag=True, help="Stop it too if it is running.")
@pass_settings
def cancel(settings: Settings, job: str, running: bool) -> int:
    """Call off a pending job, and the jobs that wait for it.

    With --running, a job that runs is asked to stop, and soon ended by force if it runs in a child process (in a
    thread it can only be asked). It ends as cancelled, or as completed if it gets there first.
    """
    from gigq import admin

    with settings.existing() as queue:
        job_id = None if queue is None else admin.resolve(queue, job)
        if queue is None or job_id is None:
            output.complain(f"Could not cancel job {output.one_line(job)}. {not_found(settings, job)}")
            return exits.REFUSED
        done = admin.cancel(queue, job_id, running=running)
        if done is None:
            now = queue.get_status(job_id).get("status", "gone")
            output.complain(
                f"Could not cancel job {job_id}. {_not_cancelled(settings, job_id, now, running)}"
            )
            return exits.REFUSED
    if settings.json:
        asked = {} if done == "cancelled" else {"asked_to_stop": True}
        output.as_json({"id": job_id, "cancelled": done == "cancelled", **asked})
    elif done == "cancelled":
        output.say(f"Job {job_id} cancelled.")
    else:
        output.say(f"Job {job_id} is asked to stop.")
    return exits.OK


def _not_cancelled(settings: Settings, job_id: str, now: str, running: bool) -> str:
    if now == JobStatus.RUNNING.value and not running:
        return f"It is running. Stop it: {settings.command('cancel', '--running', job_id)}"
    which = "pending and running" if running else "pending"
    return (
        f"It is {now}, and only {which} jobs can be cancelled. See more: {settings.command('status', job_id)}"
    )


@click.command("requeue", cls=Command)
@click.argument("job", metavar="JOB")
@pass_settings
def requeue(settings: Settings, job: str) -> int:
    """Start a failed, timed-out or cancelled job anew."""
    from gigq import admin

    with settings.existing() as queue:
        job_id = None if queue is None else admin.resolve(queue, job)
        if queue is None or job_id is None:
            output.complain(f"Could not requeue job {output.one_line(job)}. {not_found(settings, job)}")
            return exits.REFUSED
        refusal = admin.requeue(queue, job_id)
    if refusal is not None:
        output.complain(
            f"Could not requeue job {job_id}. {refusal[:1].upper()}{refusal[1:]}. "
            f"Failed, timed-out and cancelled jobs can be requeued; see it: {settings.command('status', job_id)}"
        )
        return exits.REFUSED
    if settings.json:
        output.as_json({"id": job_id, "requeued": True})
    else:
        output.say(f"Job {job_id} requeued.")
    return exits.OK


@click.command("clear", cls=Command)
@click.option(
    "--before",
    type=click.FloatRange(min=0, max=_DAYS),
    metavar="DAYS",
    help="Only those that ended more than so many days ago.",
)
@pass_settings
def clear(settings: Settings, before: float | None) -> int:
    """Remove completed and cancelled jobs.

    Their results and their history go with them. Those that a job which has not completed depends on are spared.
    """
    from gigq.clock import SYSTEM, to_iso

    moment = to_iso(SYSTEM.now() - round(before * _DAY)) if before else None
    with settings.existing() as queue:
        gone = queue.clear_completed(moment) if queue is not None else 0
    if settings.json:
        output.as_json({"cleared": gone})
    else:
        output.say(f"Cleared {gone} completed jobs.")
    return exits.OK
