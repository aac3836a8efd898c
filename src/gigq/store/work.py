"""What a worker asks of its jobs: the exchange, and what is between two of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gigq.errors import InvalidJob, StoreError
from gigq.ids import sought
from gigq.lease import Lease
from gigq.queues import EVERYTHING, Serving
from gigq.store import admission, claiming, exchange, graph, notes
from gigq.store.claiming import Claim, Claimed
from gigq.store.exchange import Batch
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

    def peek(self, serving: Serving = EVERYTHING) -> Peek:
        """What an exchange would find for a worker."""
        with self._reading() as tx:
            outlook = claiming.look(tx)
            ready = claiming.is_any_ready(tx, serving, outlook)
            times = (outlook.due_at, outlook.ends_at, outlook.opens_at)
            moments = [moment for moment in times if moment is not None]
            return Peek(ready, min(moments, default=None), bool(outlook.unfinished), tx.value("next_tick"))

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
        except (exchange.LostLease, InvalidJob):
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
        outlook = claiming.look(tx)
        is_over = outlook.ends_at is not None and outlook.ends_at <= now
        is_due = outlook.due_at is not None and outlook.due_at <= now
        if outlook.unfinished:
            graph.go_on(tx, now)
        all_ended = not is_over or claiming.expire(tx, now, PIECE)
        if is_due:
            tx.run("promote", now=now, limit=PIECE)
        if outlook.unfinished or is_over or is_due:
            outlook = claiming.look(tx)
        if outlook.opens_at is not None and outlook.opens_at <= now:
            admission.admit(tx, now)
            outlook = claiming.look(tx)
        claimed = None
        if claim is not None and claim.wants and all_ended:
            leaving = settled.leaving() if settled is not None else {}
            claimed = claiming.claim(tx, claim, now, outlook, leaving)
        exchange.count(tx, settled, claimed)
        return _Moved(claimed, outlook.opens_at is not None and outlook.opens_at <= now)

    def expire(self, now: int) -> bool:
        """End pending jobs that are over, where no exchange does; whether there were any."""
        with self._reading() as tx:
            ends_at = tx.value("next_end")
        if ends_at is None or ends_at > now:  # unused, one look at an empty index
            return False
        with self._writing() as tx:
            claiming.expire(tx, now, PIECE)
        return True

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
