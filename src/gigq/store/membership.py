"""Which jobs a workflow has, within the caller's transaction: those of its submission, and what they add when they run."""

from __future__ import annotations

from gigq.errors import DependencyCycle, InvalidJob
from gigq.newjob import MOST_EDGES
from gigq.status import JobStatus
from gigq.store import graph, submission
from gigq.store.rows import NewWorkflow, Settlement
from gigq.store.submission import Plan
from gigq.store.transaction import Transaction, as_json


def insert(tx: Transaction, what: Plan, workflow: NewWorkflow | None, now: int) -> dict[str, str]:
    """Write a submission, and the workflow that it is; see :func:`submission.insert`."""
    if workflow is None:
        return submission.insert(tx, what, now)
    at_end = [job.id for job in what.jobs[len(what.jobs) - workflow.at_end :]]
    first, last, met = _insert(tx, what, now)
    tx.run("add_workflow", id=workflow.id, name=workflow.name, created_at=workflow.created_at)
    row = tx.row("workflow", id=workflow.id)
    assert row is not None  # noqa: S101 - just added
    ends = last + 1 - sum(job not in met for job in at_end)
    for is_end, (start, stop) in enumerate(((first, ends - 1), (ends, last))):
        if start <= stop:
            tx.run("add_span", first=start, last=stop, workflow=row[0], at_end=is_end)
    return met


def _insert(tx: Transaction, what: Plan, now: int) -> tuple[int, int, dict[str, str]]:
    """The numbers of the first and the last of the jobs, and those that were not added."""
    first: int = tx.value("last_seq") + 1
    met = submission.insert(tx, what, now)
    return first, tx.value("last_seq"), met


def grow(tx: Transaction, one: Settlement, now: int) -> None:
    """Write what a run has added that has just completed; whoever waits for its job waits for these too.

    Called when the children have heard of the end, so that they count down for it once and up for these.

    Raises:
        InvalidJob: the jobs cannot be accepted; the caller rolls back.
    """
    assert one.grown is not None  # noqa: S101 - asked by the caller
    parent = one.lease.seq
    order = submission.plan(one.grown)
    submission.refuse_known(tx, order.jobs)
    if order.outside:
        refuse_cycle(tx, order.outside, parent)
    children = tx.array("waiting_children", tuple[int, str], parent=parent, limit=MOST_EDGES + 1)
    refuse_many(len(order.jobs), len(children))
    first, last, _ = _insert(tx, order, now)
    if first > last:  # all of them are unique, and there are others with their keys
        return
    workflow = tx.value("span_of", job=parent)
    if workflow is not None:
        longer = tx.run("lengthen_span", first=first, last=last, workflow=workflow)
        if not longer:
            tx.run("add_span", first=first, last=last, workflow=workflow, at_end=0)
    if not children:
        return
    listed = as_json([child for child, _ in children])
    tx.run("grow_edges", children=listed, first=first, last=last)
    tx.run("grow_parents", children=listed, n=last - first + 1)
    if order.outside:  # not all of them are pending
        pending = [child for child, status in children if status == JobStatus.PENDING.value]
        tx.run("recount", jobs=as_json(pending))
        graph.cancel_doomed(tx, pending, now)


def refuse_cycle(tx: Transaction, parents: list[str], job: int) -> None:
    """DependencyCycle, if one of the parents (ids) of a job that ``job`` adds waits for ``job``."""
    if tx.value("descends", ids=as_json(parents), job=job):
        raise DependencyCycle(
            "a job that is added depends on one that waits for the job which adds it, so each would wait for the other. "
            "Nothing was added."
        )


def refuse_many(added: int, children: int) -> None:
    """InvalidJob, if there are more edges than one transaction should write."""
    if added * children > MOST_EDGES:
        raise InvalidJob(
            f"add: {added:,} jobs, for which each of {min(children, MOST_EDGES):,} jobs that depend on this one would "
            f"wait, make more than {MOST_EDGES:,} edges. Let them depend on one job between. Nothing was added."
        )
