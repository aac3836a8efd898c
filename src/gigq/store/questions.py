"""What can be read of jobs, each question one moment of the database."""

from __future__ import annotations

from typing import Any

from gigq.ids import sought
from gigq.lease import Lease
from gigq.store.notes import OutputPart
from gigq.store.rows import Parent
from gigq.store.transaction import as_json
from gigq.store.verbs import Verbs


class Questions(Verbs):
    """The verbs that only read."""

    def record(self, job_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """A job and its runs, as the views show them."""
        with self._reading() as tx:
            while found := tx.records("record", id=sought(job_id)):
                executions = tx.records("executions", id=job_id)
                now = tx.row("find", id=job_id)
                if (
                    now is not None and now[1] == found[0]["status"]
                ):  # else it was claimed, or ended, in between
                    return found[0], executions
            return None

    def result(self, job_id: str) -> tuple[str, str | None] | None:
        """Status and JSON text of the result."""
        with self._reading() as tx:
            row = tx.row("result", id=sought(job_id))
            return None if row is None else (row[0], row[1])

    def output(self, job_id: str, run: int = 0, part: int = -1, limit: int = 1000) -> list[OutputPart]:
        """What the runs of a job have printed and logged, from behind a part on."""
        with self._reading() as tx:
            rows = tx.records("output_of", id=job_id, run=run, part=part, limit=limit)
            return [OutputPart(**row) for row in rows]

    def stats(self) -> dict[str, int]:
        """Status -> jobs in it; a status without jobs may be absent."""
        with self._reading() as tx:
            return {row["status"]: row["sum(n)"] for row in tx.records("stats")}

    def matching_ids(self, text: str, limit: int) -> list[str]:
        """The id that is a text; else ids that begin or end with it, those that begin first.

        A look at the ends reads every id of the queue, so a whole id, and a text with which many begin, are spared it.
        """
        with self._reading() as tx:
            found: list[str] = tx.column("ids_beginning", text=text, limit=limit)
            if text in found:
                return [text]
            if len(found) < limit:
                ending = tx.column("ids_ending", text=text, limit=limit)
                found = list(dict.fromkeys(found + ending))[:limit]
            return found

    def params(self, lease: Lease) -> str:
        """JSON text of a job's params."""
        with self._reading() as tx:
            return str(tx.value("params", job=lease.seq))

    def running(self) -> list[Lease]:
        """Every run under way."""
        with self._reading() as tx:
            return tx.array("running", Lease)

    def parents(self, leases: list[int], limit: int) -> tuple[dict[int, int], list[Parent]]:
        """The parents of jobs, in the order of their dependency lists.

        Returns:
            Job -> bytes for those whose parents' results exceed ``limit`` bytes, and the parents of the others.
        """
        with self._reading() as tx:
            jobs = as_json(leases)
            large = {job: n for job, n in tx.array("parents_size", list[int], jobs=jobs) if n > limit}
            rest = as_json([job for job in leases if job not in large])
            return large, tx.array("parents_of", Parent, jobs=rest)
