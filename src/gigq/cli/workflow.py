"""``gigq workflow``: many jobs that were submitted as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from gigq.cli import exits, output
from gigq.cli.options import Group, Settings, pass_settings
from gigq.drawing import FORMS

if TYPE_CHECKING:
    from gigq.drawing import Form
    from gigq.queue import JobQueue
    from gigq.submitted import SubmittedWorkflow


@click.group("workflow", cls=Group)
def workflow() -> None:
    """Look after workflows.

    WORKFLOW is its id; a unique beginning or end of it is enough.
    """


@workflow.command("list")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="How many at most.")
@pass_settings
def list_(settings: Settings, limit: int) -> int:
    """List workflows, newest first."""
    with settings.existing() as queue:
        found = [_record(one) for one in queue.workflows(limit)] if queue is not None else []
    if settings.json:
        output.as_json(found)
    elif not found:
        output.say("No workflows found.")
    else:
        head = ["ID", "Name", "Status", "Ended", "Jobs", "Created"]
        output.table(head, [_row(**one) for one in found], numbers=[3, 4], folds=1)
    return exits.OK


@workflow.command("show")
@click.argument("which", metavar="WORKFLOW")
@pass_settings
def show(settings: Settings, which: str) -> int:
    """Say how far a workflow is, and what went wrong."""
    with settings.existing() as queue:
        found = _find(settings, queue, which)
        if found is None:
            return exits.REFUSED
        record, summary = _record(found), found.summary()
    if settings.json:
        output.as_json(record)
        return exits.OK
    counts = ", ".join(f"{n:,} {word}" for word, n in record["progress"].items() if n and word != "total")
    output.fields(
        [
            ("Workflow", f"{record['name']} ({record['id']})"),
            ("Status", record["status"]),
            ("Created", output.time(record["created_at"])),
            ("Jobs", f"{record['progress']['total']:,} ({counts})"),
        ]
    )
    for line in summary.split("\n")[1:]:
        output.say(f"  {output.one_line(line.strip())}")
    return exits.OK


@workflow.command("graph", json=False)
@click.argument("which", metavar="WORKFLOW")
@click.option(
    "--format", "form", type=click.Choice(FORMS), default="text", show_default=True, help="How it is drawn."
)
@pass_settings
def graph(settings: Settings, which: str, form: str) -> int:
    """Draw a workflow with the statuses of its jobs; many alike are drawn as one."""
    with settings.existing() as queue:
        found = _find(settings, queue, which)
        if found is None:
            return exits.REFUSED
        drawn = found.draw(cast("Form", form))
    output.say(drawn)
    return exits.OK


@workflow.command("retry")
@click.argument("which", metavar="WORKFLOW")
@click.option("--cancelled", is_flag=True, help="The jobs that somebody has cancelled too.")
@pass_settings
def retry(settings: Settings, which: str, cancelled: bool) -> int:
    """Start what failed or timed out anew, with what was cancelled for its sake."""
    with settings.existing() as queue:
        found = _find(settings, queue, which)
        if found is None:
            return exits.REFUSED
        count = found.retry_failed(cancelled=cancelled)
    if settings.json:
        output.as_json({"id": found.id, "requeued": count})
    else:
        output.say(f"Requeued {count} jobs of workflow {found.id}.")
    return exits.OK


@workflow.command("cancel")
@click.argument("which", metavar="WORKFLOW")
@pass_settings
def cancel(settings: Settings, which: str) -> int:
    """Call off what is pending, and ask what runs to stop.

    Jobs that are to run at the workflow's end are left; they run now.
    """
    with settings.existing() as queue:
        found = _find(settings, queue, which)
        if found is None:
            return exits.REFUSED
        count = found.cancel()
    if settings.json:
        output.as_json({"id": found.id, "cancelled": count})
    else:
        output.say(f"Cancelled {count} jobs of workflow {found.id}.")
    return exits.OK


def _find(settings: Settings, queue: JobQueue | None, text: str) -> SubmittedWorkflow | None:
    """The workflow that was asked for; None, and told, if there is none."""
    from gigq import admin

    workflow_id = None if queue is None else admin.resolve_workflow(queue, text)
    if queue is None or workflow_id is None:
        which = settings.command("workflow", "list")
        output.complain(f"Workflow {output.one_line(text)} not found. See which there are: {which}")
        return None
    return queue.workflow(workflow_id)


def _record(found: SubmittedWorkflow) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "status": found.status,
        "created_at": found.created_at,
        "progress": found.progress,
    }


def _row(id: str, name: str, status: str, created_at: str, progress: dict[str, int]) -> list[str]:  # noqa: A002 - the key of the record
    total = progress["total"]
    ended = total - progress["pending"] - progress["running"]
    return [id, output.one_line(name), status, f"{ended:,}", f"{total:,}", output.time(created_at)]
