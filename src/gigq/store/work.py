"""What a worker asks of its jobs: the exchange, and what is between two of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gigq.errors import StoreError
from gigq.ids import sought
from gigq.lease import Lease
from gigq.store import admission, exchange, graph, notes
from gigq.store.exchange import Batch, Claim, Claimed
from gigq.store.notes import NoteRow
from gigq.store.rows import Exchanged, Peek, Settlement
from gigq.store.transaction import Transaction
from gigq.store.verbs import PIECE, Verbs


class _Moved(NamedTuple):
    """What came of an exchange beside its settlements."""

    claimed: Claimed | None
    more: bool

    def exchanged(self, lost: list[Settlement], refused: list[Settlement]) -> Exchanged:
        if self.claimed is None:
            return Exchanged([], lost, refused, self.more)
        return Exchanged(self.claimed.read(), lost, refused, self.more or self.claimed.put_back > 0)


class Work(Verbs):
    """The verbs of a worker's loop."""

    def peek(self, queue: str = "default") -> Peek:
        with self._reading() as tx:
            row = tx.row("peek", queue=queue)
            assert row is not None  # noqa: S101 - a SELECT without FROM has one row
            ready, due_at, opens_at, unfinished = row
            moments = [moment for moment in (due_at, opens_at) if moment is not None]
            return Peek(bool(ready), min(moments, default=None), bool(unfinished))

    def exchange(
        self,
        settlements: list[Settlement],
        claim: Claim | None,
        now: int,
        *,
        said: list[NoteRow] | None = None,
        late: bool = True,
        wait: float | None = None,
        when_free: Callable[[], None] | None = None,
    ) -> Exchanged:
        """Settle, release, promote, claim: one transaction, however many jobs.

        ``said`` is what running jobs have said. ``late`` is whether a lost lease means that a run reported late, and
        is to be marked superseded.

        If a settlement has lost its lease, or cannot be written, the transaction is rolled back and the settlements
        are written one by one, so that one bad outcome does not sink the others.

        Raises:
            StoreBusy: the turn to write did not come within ``wait`` seconds. Nothing was written.
            StoreError: the database cannot be written at all now. Nothing was written.
        """
        try:
            batch = Batch(settlements)
            ring = bool(settlements or said)
            small = batch.is_small and not said
            with self._writing(wait=wait, when_free=when_free, ring=ring, small=small) as tx:
                exchange.settle(tx, batch, now)
                if said:
                    notes.write(tx, said)
                moved = self._move_on(tx, batch, claim, now)
            return moved.exchanged([], [])
        except exchange.LostLease:
            pass
        except StoreError as error:
            if type(error) is not StoreError:  # no single outcome is to blame
                raise
        with self._writing(wait=wait, when_free=when_free) as tx:
            lost, refused = exchange.settle_one_by_one(tx, settlements, now, late=late)
            if said:
                notes.write(tx, said)
            moved = self._move_on(tx, None, claim, now)
        return moved.exchanged(lost, refused)

    def _move_on(self, tx: Transaction, settled: Batch | None, claim: Claim | None, now: int) -> _Moved:
        graph.go_on(tx, now)
        tx.run("promote", now=now, limit=PIECE)
        more = admission.admit(tx, now)
        claimed = exchange.claim(tx, claim, now) if claim is not None and claim.wants else None
        exchange.count(tx, settled, claimed)
        return _Moved(claimed, more)

    def hasten(self, lease: Lease, due_at: int | None) -> None:
        """Let a retry go that waited for its abandoned thread."""
        with self._writing() as tx:
            tx.run("hasten", job=lease.seq, execution=lease.execution_id, due_at=due_at)

    def lease(self, job_id: str, execution_id: str) -> Lease | None:
        """The run of a job, if that is under way."""
        with self._reading() as tx:
            found = tx.array("lease", Lease, id=sought(job_id), execution=sought(execution_id))
            return found[0] if found else None

    def stop_requests(self) -> list[str]:
        """Leases of the runs under way that are asked to stop."""
        with self._reading() as tx:
            return tx.column("stop_requests")

    def forget_stops(self) -> None:
        """Take out the requests whose runs have ended."""
        with self._reading() as tx:
            if not tx.value("any_stop_request"):
                return
        with self._writing(ring=False) as tx:
            tx.run("forget_stops")
