"""Workflows that are in the queue: what is asked of them, and what is done to all of their jobs, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from gigq.errors import UnknownParent
from gigq.ids import sought
from gigq.newjob import MOST_EDGES
from gigq.status import JobStatus
from gigq.store import graph, membership
from gigq.store.changes import Changes
from gigq.store.rows import NodeRow, Outcome, SpanRow, WorkflowRow
from gigq.store.transaction import Transaction, as_json

_PIECE = 1000
"""Jobs in one transaction, which tells their children too."""
_STATUSES = [status.value for status in JobStatus]
_FAILED = (JobStatus.FAILED.value, JobStatus.TIMEOUT.value)


class Workflows(Changes):
    """The verbs about workflows; each names one by its number."""

    def workflow(self, workflow_id: str) -> WorkflowRow | None:
        """The one with an id."""
        with self._reading() as tx:
            row = tx.row("workflow", id=sought(workflow_id))
            return None if row is None else WorkflowRow(*row)

    def workflows(self, limit: int) -> list[WorkflowRow]:
        """Newest first."""
        with self._reading() as tx:
            return [WorkflowRow(**row) for row in tx.records("workflows", limit=limit)]

    def matching_workflows(self, text: str, limit: int) -> list[str]:
        """Ids, as :meth:`matching_ids` finds those of jobs."""
        with self._reading() as tx:
            found: list[str] = tx.column("workflow_ids_beginning", text=text, limit=limit)
            if text in found:
                return [text]
            ending = tx.column("workflow_ids_ending", text=text, limit=limit)
            return list(dict.fromkeys(found + ending))[:limit]

    def workflow_counts(self, workflow: int) -> dict[str, int]:
        """Status -> jobs in it, of every status."""
        with self._reading() as tx:
            rows = tx.array(
                "workflow_counts", tuple[str, int], workflow=workflow, statuses=as_json(_STATUSES)
            )
            return dict.fromkeys(_STATUSES, 0) | dict(rows)

    def workflow_jobs(self, workflow: int, cursor: int, limit: int) -> list[dict[str, Any]]:
        """Jobs as the view shows them, in the order of submission, behind a number."""
        with self._reading() as tx:
            return tx.records("workflow_jobs", workflow=workflow, cursor=cursor, limit=limit)

    def workflow_results(self, workflow: int, cursor: int, limit: int) -> list[Outcome]:
        """The same, but only what became of them."""
        with self._reading() as tx:
            return tx.array("workflow_results", Outcome, workflow=workflow, cursor=cursor, limit=limit)

    def workflow_nodes(self, workflow: int, cursor: int, limit: int) -> list[NodeRow]:
        """The same, but only what is drawn of them."""
        with self._reading() as tx:
            return tx.array("workflow_nodes", NodeRow, workflow=workflow, cursor=cursor, limit=limit)

    def workflow_can_go_on(self, workflow: int) -> bool:
        """Whether one of its jobs runs, or will."""
        with self._reading() as tx:
            return bool(tx.value("workflow_can_go_on", workflow=workflow))

    def workflow_edges(self, jobs: list[int]) -> list[tuple[int, str]]:
        """[job, id of a parent] of some jobs, in the order of their dependencies."""
        with self._reading() as tx:
            return tx.array("edges_of", tuple[int, str], jobs=as_json(jobs))

    def cancel_workflow(self, workflow: int, now: int) -> int:
        """Call off what is pending, but for what runs at the end, and ask what runs to stop; how many jobs."""

        def cancel(tx: Transaction, jobs: list[int]) -> int:
            pending = tx.array("still_pending", int, jobs=as_json(jobs))
            listed = as_json(pending)
            tx.run("count_jobs", jobs=listed, sign=-1)
            tx.run("cancel", jobs=listed, now=now)
            tx.run("count_jobs", jobs=listed, sign=1)
            graph.ended(tx, [], pending, now)
            return len(pending)

        def ask(tx: Transaction, jobs: list[int]) -> int:
            return tx.run("ask_to_stop", jobs=as_json(jobs), now=now)

        spans = [span for span in self._spans(workflow) if not span.at_end]
        # Children first, or they would be cancelled for their parents' sake, and not by their owner.
        called_off = self._each_piece(self._jobs_back(spans, JobStatus.PENDING.value), cancel)
        asked = self._each_piece(self._jobs(spans, [JobStatus.RUNNING.value]), ask)
        self.finish(now)
        return called_off + asked

    def retry_workflow(self, workflow: int, now: int, *, cancelled: bool) -> int:
        """Put back to the start what failed, with what was cancelled for its sake; how many failed ones.

        With ``cancelled`` what its owner has cancelled too.
        """

        def requeue(tx: Transaction, jobs: list[int]) -> int:
            back = tx.array("ended_badly_of", int, jobs=as_json(jobs))
            replaced = graph.requeue(tx, back, now)
            back = [job for job in back if job not in replaced]
            graph.revived(tx, back, now)
            graph.cancel_doomed(
                tx, back, now
            )  # those whose parents are not among them; they come back with these
            return len(back)

        spans = self._spans(workflow)
        statuses = [*_FAILED, JobStatus.CANCELLED.value] if cancelled else _FAILED
        total = self._each_piece(self._jobs(spans, statuses), requeue)
        self.finish(now)
        return total

    def room_to_grow(self, job: int, parents: list[str]) -> int:
        """How many jobs wait for a running one, whose added jobs are to depend on ``parents`` (ids).

        Raises:
            UnknownParent: one of them is not in the queue.
            DependencyCycle: one of them waits for the job.
        """
        with self._reading() as tx:
            if parents:
                known = {
                    row[0] for row in tx.array("known_ids", list, ids=as_json([sought(p) for p in parents]))
                }
                for place, parent in enumerate(parents):
                    if place not in known:
                        raise UnknownParent(
                            f"add: a job depends on {parent}, which is neither in the queue nor added before it. "
                            "Add parents first. Nothing was added."
                        )
                membership.refuse_cycle(tx, parents, job)
            return len(tx.array("waiting_children", list, parent=job, limit=MOST_EDGES + 1))

    def _spans(self, workflow: int) -> list[SpanRow]:
        with self._reading() as tx:
            return tx.array("spans_of", SpanRow, workflow=workflow)

    def _each_piece(self, jobs: Iterator[int], do: Callable[[Transaction, list[int]], int]) -> int:
        """Do something with jobs in transactions of bounded size; the sum of what it returns."""
        total = 0
        while piece := list(islice(jobs, _PIECE)):
            with self._writing() as tx:
                total += do(tx, piece)
        return total

    def _jobs(self, spans: Sequence[SpanRow], statuses: Sequence[str]) -> Iterator[int]:
        """Jobs in some states, oldest first as far as each state goes."""
        for status in statuses:
            for first, last, _ in spans:
                while piece := self._some("span_next", status, first, last):
                    yield from piece
                    first = piece[-1] + 1

    def _jobs_back(self, spans: Sequence[SpanRow], status: str) -> Iterator[int]:
        """Jobs in a state, newest first."""
        for first, last, _ in reversed(spans):
            while piece := self._some("span_last", status, first, last):
                yield from piece
                last = piece[-1] - 1

    def _some(self, name: str, status: str, first: int, last: int) -> list[int]:
        with self._reading() as tx:
            return tx.array(name, int, status=status, first=first, last=last, limit=_PIECE)
