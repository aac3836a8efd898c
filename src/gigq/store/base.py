"""Store: every verb once; one verb is one transaction (of bounded size, but for submitting).

A verb binds values and returns plain rows. It never sleeps, logs or decides policy; the moment is always given.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from gigq.errors import StoreError
from gigq.ids import sought
from gigq.lease import Lease
from gigq.status import CLEARABLE
from gigq.store import clearing, exchange, graph, hosts, migrations, notes, submission
from gigq.store.exchange import Batch, Claim, Claimed
from gigq.store.notes import NoteRow, OutputPart
from gigq.store.rows import NewJob, Settlement, WorkerRow
from gigq.store.sessions import Session, Writing
from gigq.store.sidecar import Life
from gigq.store.sqlite import Sqlite
from gigq.store.transaction import Transaction, as_json

_PIECE = 2000


class Exchanged(NamedTuple):
    """The answer of an exchange."""

    claimed: list[Lease]
    lost: list[Settlement]
    """Late: somebody else had ended these runs; nothing was written but the word superseded."""
    refused: list[Settlement]
    """Could not be written; their jobs have failed with that error instead."""


class Seat(NamedTuple):
    """A registered worker's place."""

    number: int
    area: int
    life: Life


class Peek(NamedTuple):
    """What an idle worker sees without writing."""

    ready: bool
    next_due: int | None
    unfinished: bool

    def has_work(self, now: int) -> bool:
        """Whether an exchange would find anything to do."""
        return self.ready or self.is_due(now)

    def is_due(self, now: int) -> bool:
        """Whether an exchange would make anything ready."""
        return self.unfinished or (self.next_due is not None and self.next_due <= now)


class Parent(NamedTuple):
    """A parent as its child sees it."""

    child: int
    id: str
    status: str | None
    """None once it was cleared."""
    result: str | None
    error: str | None


class Who(Protocol):
    """How a process introduces its worker."""

    worker_id: str
    pid: int
    birth: str | None
    host: str
    boot: str


class Store:
    """The queue's tables, spoken to in the words of the domain."""

    def __init__(self, engine: Sqlite, *, create: bool = True) -> None:
        self.engine = engine
        self._create = create
        self._ready = False
        self._new_host = False
        """Whether the first write has to note which host works on the file."""

    # -- opening ---------------------------------------------------------------------------------------------

    def initialize(self) -> None:
        """Create or migrate the tables, once.

        Raises:
            StoreMissing: there are none, or older ones, and this store was opened not to create.
            StoreVersion: they are newer than this gigq.
            StoreUnusable: another host works on the file.
        """
        if not self._ready:
            migrations.ensure(self.engine, create=self._create)
            self._new_host = hosts.check(self.engine)
            self._ready = True

    def _reading(self) -> Session[Transaction]:
        self.initialize()
        patience = self.engine.patience
        return self.engine.session(lambda connection: Transaction(connection, patience))

    def _writing(self, **how: Any) -> Writing[Transaction]:
        self.initialize()
        then = self._committed if self._new_host else None
        return Writing(self.engine, self._begun, then=then, **how)

    def _begun(self, connection: sqlite3.Connection) -> Transaction:
        tx = Transaction(connection)
        if self._new_host:
            hosts.take(tx)
        return tx

    def _committed(self) -> None:
        self._new_host = False

    # -- what a client asks ----------------------------------------------------------------------------------

    def submit(self, jobs: list[NewJob], now: int) -> None:
        """Add jobs with their edges: all of them, or none.

        Raises:
            DuplicateJob, UnknownParent, DependencyCycle: nothing was written.
        """
        order = submission.plan(jobs)
        try:
            with self._writing(small=order.is_small) as tx:
                submission.insert(tx, order, now)
        except StoreError as error:
            if type(error) is StoreError:  # one of the jobs is to blame
                with self._reading() as tx:
                    submission.refuse_known(tx, jobs)
            raise
        if order.outside:  # a parent that ended badly may have cancelled more than one transaction holds
            self.finish(now)

    def cancel(self, job_id: str, now: int) -> bool:
        """Call a pending job off, and what depends on it; False if it was not pending."""
        with self._writing() as tx:
            found = tx.row("find", id=sought(job_id))
            if found is None:
                return False
            seq = found[0]
            job = as_json([seq])
            tx.run("count_jobs", jobs=job, sign=-1)
            cancelled = tx.run("cancel", job=seq, now=now) == 1
            tx.run("count_jobs", jobs=job, sign=1)
            if cancelled:
                graph.ended(tx, [], [seq], now)
        self.finish(now)
        return cancelled

    def ask_to_stop(self, job_id: str, now: int) -> bool:
        """Ask the run of a job that is under way to stop; False if there is none."""
        with self._writing() as tx:
            found = tx.row("find", id=job_id)
            return found is not None and tx.run("ask_to_stop", job=found[0], now=now) == 1

    def requeue(self, job_id: str, now: int) -> str | None:
        """Put an ended job back to the start, with what was cancelled for its sake; or why not."""
        with self._writing() as tx:
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
            graph.requeue(tx, [seq], now)
            graph.revived(tx, seq, now)
        self.finish(now)
        return None

    def clear(self, before: int | None, now: int) -> int:
        """Remove completed and cancelled jobs, sparing what others still depend on; how many went."""
        total = 0
        while True:
            gone = sum(self._clear_status(status.value, before) for status in sorted(CLEARABLE, key=str))
            total += gone
            if not gone:
                return total

    def _clear_status(self, status: str, before: int | None) -> int:
        """One pass over a status, newest first, a piece at a time."""
        gone, cursor = 0, clearing.FIRST
        while True:
            with self._reading() as tx:
                candidates = clearing.candidates(tx, status, cursor, before)
            if not candidates:
                return gone
            with self._writing() as tx:
                gone += clearing.clear(tx, candidates)
            cursor = candidates[-1]

    def finish(self, now: int) -> None:
        """Go on with graph work that was too large for one transaction, until none is left."""
        while True:
            with self._reading() as tx:
                if tx.row("take_unfinished") is None:
                    return
            with self._writing() as tx:
                graph.go_on(tx, now)

    def record(self, job_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """A job and its runs, as the views show them."""
        with self._reading() as tx:
            found = tx.records("record", id=sought(job_id))
            return (found[0], tx.records("executions", id=job_id)) if found else None

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

    def records(self, status: str | None, limit: int) -> list[dict[str, Any]]:
        """Jobs as the view shows them, newest first."""
        with self._reading() as tx:
            if status is None:
                return tx.records("list_all", limit=limit)
            return tx.records("list_status", status=status, limit=limit)

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

    # -- what a worker asks ----------------------------------------------------------------------------------

    def peek(self, queue: str = "default") -> Peek:
        with self._reading() as tx:
            row = tx.row("peek", queue=queue)
            assert row is not None  # noqa: S101 - a SELECT without FROM has one row
            return Peek(bool(row[0]), row[1], bool(row[2]))

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
                claimed = self._move_on(tx, batch, claim, now)
            return Exchanged(claimed.read() if claimed else [], [], [])
        except exchange.LostLease:
            pass
        except StoreError as error:
            if type(error) is not StoreError:  # no single outcome is to blame
                raise
        with self._writing(wait=wait, when_free=when_free) as tx:
            lost, refused = exchange.settle_one_by_one(tx, settlements, now, late=late)
            if said:
                notes.write(tx, said)
            claimed = self._move_on(tx, None, claim, now)
        return Exchanged(claimed.read() if claimed else [], lost, refused)

    def _move_on(
        self, tx: Transaction, settled: Batch | None, claim: Claim | None, now: int
    ) -> Claimed | None:
        graph.go_on(tx, now)
        tx.run("promote", now=now, limit=_PIECE)
        claimed = exchange.claim(tx, claim, now) if claim is not None and claim.wants else None
        exchange.count(tx, settled, claimed)
        return claimed

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

    # -- workers, and what they leave behind -----------------------------------------------------------------

    def register(self, who: Who, now: int) -> Seat:
        """Take a seat; the life lock is held before anybody can see the worker."""
        least = 0
        while True:
            with self._writing(ring=False) as tx:
                tx.run(
                    "register_worker",
                    worker_id=who.worker_id,
                    pid=who.pid,
                    birth=who.birth,
                    host=who.host,
                    boot=who.boot,
                    sidecar=self.engine.sidecar.identity,
                    least=least,
                    now=now,
                )
                row = tx.row("worker_just_registered")
                assert row is not None  # noqa: S101 - just inserted
                number, area = row
                life = self.engine.sidecar.live(area)
                if life is not None:
                    return Seat(number, area, life)
                # Somebody who has said good-bye still holds this area's lock.
                tx.run("forget_worker", number=number)
                least = area + 1

    def retire(self, number: int, now: int) -> None:
        """Say good-bye for a worker whose runs are all settled."""
        with self._writing(ring=False) as tx:
            tx.run("retire_worker", number=number, now=now)

    def forget(self, number: int) -> None:
        """Take out a worker that has never run anything."""
        with self._writing(ring=False) as tx:
            tx.run("forget_worker", number=number)

    def workers(self) -> list[WorkerRow]:
        """Those that have not said good-bye."""
        with self._reading() as tx:
            return tx.array("live_workers", WorkerRow)

    def held_imports(self) -> list[dict[str, Any]]:
        """held_by, function_module, function_name, script of what some worker could not import: one of each."""
        with self._reading() as tx:
            return tx.records("held_imports")

    def release_held(self, held_by: str, name: str, script: str | None) -> int:
        with self._writing() as tx:
            return tx.run("release_held", held_by=held_by, name=name, script=script, limit=_PIECE)

    def fail_held(self, since: int, now: int) -> int:
        """Fail what has been held for want of a module since before a moment; how many."""
        with self._reading() as tx:
            if tx.value("held_too_long", since=since, limit=1) == "[]":
                return 0
        with self._writing() as tx:
            held = tx.array("held_too_long", int, since=since, limit=_PIECE)
            jobs = as_json(held)
            tx.run("count_jobs", jobs=jobs, sign=-1)
            tx.run("fail_held", jobs=jobs, now=now)
            tx.run("count_jobs", jobs=jobs, sign=1)
            graph.ended(tx, [], held, now)
        return len(held)
