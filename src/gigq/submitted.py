"""A workflow that is in a queue: how far it is, what came out, and what can be done to all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gigq import codec, finding
from gigq.clock import Clock, to_iso
from gigq.status import JobStatus

if TYPE_CHECKING:
    from gigq import drawing
    from gigq.job import Job
    from gigq.store import Store
    from gigq.store.rows import NodeRow, Outcome, WorkflowRow

WorkflowStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
_PAGE = 500
_NAMED = 5
"""Jobs that a summary names."""
_UNFOLD = ("gigq.worker.unfold", "unfold")
_GATHER = ("gigq.worker.unfold", "gather")


class Home(Protocol):
    """The queue that a workflow is in."""

    clock: Clock

    @property
    def _store(self) -> Store: ...


class SubmittedWorkflow:
    """
    A workflow in a queue, as ``queue.workflow(id)`` finds it. Each question reads the database anew.
    """

    def __init__(self, queue: Home, row: WorkflowRow) -> None:
        """Args:
        queue: where it is.
        row: what is stored of it.
        """
        self._queue = queue
        self._number = row.number
        self.id = row.id
        self.name = row.name
        self.created_at = to_iso(row.created_at)
        """When it was submitted; ISO 8601 in UTC."""

    @property
    def status(self) -> WorkflowStatus:
        """
        ``pending`` before its first job runs, ``running`` until all have ended; then ``failed`` if one failed or timed
        out, ``cancelled`` if one was cancelled, ``completed`` if all completed.
        """
        return _status(self._counts())

    @property
    def progress(self) -> dict[str, int]:
        """
        How many of its jobs are in each status, and ``total``.

        Jobs that were cleared are not counted; jobs that were added when others ran are, as soon as they are there.
        """
        counts = self._counts()
        return {**counts, "total": sum(counts.values())}

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Its jobs, in the order of submission, each as ``list_jobs`` shows it; read page by page."""
        cursor = -1
        while page := self._queue._store.workflow_jobs(self._number, cursor, _PAGE):
            cursor = page[-1]["seq"]
            yield from (finding.shown(record) for record in page)

    def results(self) -> Results:
        """The results of the jobs that completed, by id and name."""
        return Results(one for one in self._outcomes() if (one.module, one.function) != _UNFOLD)

    def cancel(self) -> int:
        """
        Call off every job that is pending, and ask those that run to stop.

        Jobs of ``on_end`` are left: they run when all others have ended. What a running job adds after this call, it adds.

        Returns:
            How many jobs were called off or asked.
        """
        return self._queue._store.cancel_workflow(self._number, self._queue.clock.now())

    def retry_failed(self, *, cancelled: bool = False) -> int:
        """
        Requeue the jobs that failed or timed out; those that were cancelled for their sake come back with them.

        Args:
            cancelled: Those that somebody has cancelled too.

        Returns:
            How many jobs were requeued, without those that came back with them.
        """
        return self._queue._store.retry_workflow(self._number, self._queue.clock.now(), cancelled=cancelled)

    def draw(self, form: drawing.Form = "text") -> str:
        """
        Draw the graph with the statuses of its jobs; see ``Workflow.draw``.

        Raises:
            InvalidJob: There is no such form.
        """
        from gigq import drawing

        drawing.check(form)
        nodes = [drawing.Node(row.id, row.name, row.status, parents) for row, parents in self._nodes()]
        return drawing.draw(self.name, nodes, form)

    def can_go_on(self) -> bool:
        """Whether a job runs, or will be run by a worker; False when all have ended, or wait for what will not come."""
        return self._queue._store.workflow_can_go_on(self._number)

    def summary(self) -> str:
        """How it stands, in a sentence, with the first jobs that ended badly."""
        counts = self._counts()
        told = ", ".join(f"{n:,} {status}" for status, n in counts.items() if n)
        bad = [one for one in self._outcomes() if one.status in ("failed", "timeout")]
        lines = [f"{one.name} ({one.id}) {one.status}: {_first_line(one.error)}" for one in bad[:_NAMED]]
        more = f"\n  and {len(bad) - _NAMED:,} more" if len(bad) > _NAMED else ""
        stuck = ""
        if counts["pending"] and not self.can_go_on():
            stuck = "\nWhat is pending waits for a parent that ended badly (on_parent_failure='wait')."
        return (
            f"workflow {self.name!r} ({self.id}): {told}"
            + "".join(f"\n  {line}" for line in lines)
            + more
            + stuck
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.id}>"

    def _counts(self) -> dict[str, int]:
        return self._queue._store.workflow_counts(self._number)

    def _outcomes(self) -> Iterator[Outcome]:
        cursor = -1
        while page := self._queue._store.workflow_results(self._number, cursor, _PAGE):
            cursor = page[-1].seq
            yield from page

    def _nodes(self) -> list[tuple[NodeRow, list[str]]]:
        """What is drawn, with ids of parents: of the jobs that unfold a map only the first, above all of its items."""
        store = self._queue._store
        rows: dict[str, NodeRow] = {}
        parents: dict[int, list[str]] = {}
        cursor = -1
        while page := store.workflow_nodes(self._number, cursor, _PAGE):
            cursor = page[-1].seq
            for row in page:
                rows[row.id], parents[row.seq] = row, []
            for child, parent in store.workflow_edges([row.seq for row in page]):
                parents[child].append(parent)
        hidden: set[str] = set()
        for row in rows.values():
            if (row.module, row.function) == _GATHER:
                mapped = [rows[one] for one in parents[row.seq] if one in rows]
                steps = [one.id for one in mapped if (one.module, one.function) == _UNFOLD]
                hidden.update(steps[1:])
                for item in mapped:
                    if item.id not in steps:
                        parents[item.seq] += steps[:1]
        return [(row, parents[row.seq]) for row in rows.values() if row.id not in hidden]


class Results(Mapping[str, Any]):
    """
    What the jobs of a workflow returned that completed: id -> result, in the order of submission.

    ``results[job]`` and ``results["name of a job"]`` work too, the latter if only one job has that name.
    """

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        self._values: dict[str, Any] = {}
        self._others: dict[str, str] = {}
        self._ids: dict[str, list[str]] = {}
        for one in outcomes:
            self._ids.setdefault(one.name, []).append(one.id)
            if one.status == JobStatus.COMPLETED.value:
                self._values[one.id] = codec.decode(one.result)
            else:
                self._others[one.id] = one.status

    def __getitem__(self, key: str | Job) -> Any:
        name = key if isinstance(key, str) else key.id
        named = [name] if name in self._values or name in self._others else self._ids.get(name, [])
        if len(named) > 1:
            raise KeyError(f"{len(named):,} jobs are called {name!r}; ask by id")
        if not named:
            raise KeyError(f"no job of this workflow is called {name!r} or has that id")
        if named[0] in self._others:
            raise KeyError(f"job {name} has no result: it is {self._others[named[0]]}")
        return self._values[named[0]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._values!r}>"


def _status(counts: dict[str, int]) -> WorkflowStatus:
    ended = sum(counts[status] for status in ("completed", "failed", "timeout", "cancelled"))
    if counts["running"] or (counts["pending"] and ended):
        return "running"
    if counts["pending"]:
        return "pending"
    if counts["failed"] or counts["timeout"]:
        return "failed"
    return "cancelled" if counts["cancelled"] else "completed"


def _first_line(error: str | None) -> str:
    return (error or "").partition("\n")[0]
