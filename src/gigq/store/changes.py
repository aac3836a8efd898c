"""What clients change: submit, cancel, requeue."""

from __future__ import annotations

import sqlite3

from gigq.errors import StoreError
from gigq.ids import sought
from gigq.newjob import NewJob
from gigq.status import REPLACED
from gigq.store import claiming, graph, hosts, joining, late_bell, membership, submission, uniqueness
from gigq.store.rows import NewWorkflow, Parent
from gigq.store.transaction import as_json
from gigq.store.verbs import Verbs


class Changes(Verbs):
    """The verbs of a client that write."""

    def submit(self, jobs: list[NewJob], now: int, workflow: NewWorkflow | None = None) -> dict[str, str]:
        """Add jobs with their edges: all of them, or none; with ``workflow`` as the jobs of one.

        Returns:
            Id of a job that was not added -> id of the one that has its unique key.

        Raises:
            InvalidJob: DuplicateJob, UnknownParent, DependencyCycle and others; nothing was written.
        """
        order = submission.plan(jobs)
        try:
            with self._writing(small=order.is_small) as tx:
                met = membership.insert(tx, order, workflow, now)
        except StoreError as error:
            if type(error) is StoreError:  # one of the jobs is to blame
                with self._reading() as tx:
                    submission.refuse_known(tx, jobs)
            raise
        if order.outside:  # a parent that ended badly may have cancelled more than one transaction holds
            self.finish(now)
        return met

    def submit_within(
        self,
        connection: sqlite3.Connection,
        jobs: list[NewJob],
        now: int,
        workflow: NewWorkflow | None = None,
    ) -> dict[str, str]:
        """The same as a part of somebody's transaction: there when they commit it, gone if they roll it back.

        Raises:
            InvalidJob: as :meth:`submit`, and as :class:`gigq.store.joining.Joining`. Their transaction stands as before.
        """
        order = submission.plan(jobs)
        with joining.Joining(self.engine, connection) as tx:
            self.initialize()
            if self._new_host:
                hosts.take(tx)
            try:
                with tx.savepoint():
                    met = membership.insert(tx, order, workflow, now)
            except StoreError as error:
                if type(error) is StoreError:  # one of the jobs is to blame
                    submission.refuse_known(tx, jobs)
                raise
        written = [met.get(job.id, job.id) for job in jobs if job.id not in met or uniqueness.updates(job)]
        if written:
            late_bell.expect(self, written[-1], now)
        return met

    def is_stored(self, job_id: str, at: int) -> bool:
        """Whether what was written of a job at a moment, or later, can be seen."""
        with self._reading() as tx:
            return bool(tx.value("is_stored", id=job_id, at=at))

    def ring(self) -> None:
        """Wake who waits for jobs, or for their ends."""
        self.engine.sidecar.ring()

    def cancel(self, job_id: str, now: int) -> bool:
        """Call a pending job off, and what depends on it; False if it was not pending."""
        with self._writing() as tx:
            found = tx.row("find", id=sought(job_id))
            if found is None:
                return False
            seq = found[0]
            job = as_json([seq])
            tx.run("count_jobs", jobs=job, sign=-1)
            cancelled = tx.run("cancel", jobs=job, now=now) == 1
            tx.run("count_jobs", jobs=job, sign=1)
            if cancelled:
                graph.ended(tx, [], [seq], now)
        self.finish(now)
        return cancelled

    def ask_to_stop(self, job_id: str, now: int) -> bool:
        """Ask the run of a job that is under way to stop; False if there is none."""
        with self._writing() as tx:
            found = tx.row("find", id=job_id)
            return found is not None and tx.run("ask_to_stop", jobs=as_json([found[0]]), now=now) == 1

    def requeue(self, job_id: str, now: int) -> str | None:
        """Put an ended job back to the start, with what was cancelled for its sake; or why not."""
        with self._writing() as tx:
            claiming.expire_any(tx, now)  # a parent, or the holder of its key, that is over counts as ended
            found = tx.row("find", id=sought(job_id))
            if found is None:
                return "there is no such job"
            seq, status = found
            if status in ("pending", "running", "completed"):
                return f"it is {status}"
            doomed = tx.array("doomed", list[int], jobs=as_json([seq]))
            if doomed:
                parent = tx.array("parents_of", Parent, jobs=as_json([seq]))
                bad = [p.id for p in parent if p.status in ("failed", "timeout", "cancelled")]
                return f"its parent {', '.join(bad)} ended badly; requeue that first"
            replaced = graph.requeue(tx, [seq], now)
            if replaced:
                return f"its unique key is taken: {REPLACED.format(replaced[seq])}"
            graph.revived(tx, [seq], now)
        self.finish(now)
        return None

    def finish(self, now: int) -> None:
        """Go on with graph work that was too large for one transaction, until none is left."""
        while True:
            with self._reading() as tx:
                if tx.row("take_unfinished") is None:
                    return
            with self._writing() as tx:
                graph.go_on(tx, now)
