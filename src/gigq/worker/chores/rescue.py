"""Runs that nobody will settle any more: their worker is dead, or they are long overdue."""

from __future__ import annotations

from collections.abc import Set

from gigq import ids
from gigq.clock import SECOND, Clock
from gigq.lease import Lease
from gigq.marks import Mark
from gigq.status import CANCELLED
from gigq.store import Store
from gigq.store.rows import Settlement, WorkerRow
from gigq.store.workers import is_dead
from gigq.worker import settling

GRACE = 10 * SECOND
"""What a living worker gets beyond the timeout to settle its own run."""


class Rescue:
    """Looks after the runs of others; any worker can do it again safely."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._seen: dict[str, int] = {}
        """Runs without a start mark, and since when this process has seen them (monotonic nanoseconds)."""

    def dead_workers(self, mine: int | None) -> list[Settlement]:
        """Settle what dead workers had claimed: charged if it had started, given back if not."""
        settled: list[Settlement] = []
        sidecar = self._store.engine.sidecar
        for row in self._store.workers():
            if row.number == mine or not is_dead(row, sidecar):
                continue
            same_place = row.boot == ids.boot_id() and row.sidecar == sidecar.identity
            marks = sidecar.read_marks(row.area) if same_place else {}
            leases = [lease for lease in self._store.running() if lease.worker == row.number]
            asked = frozenset(self._store.stop_requests()) if leases else frozenset()
            settled += self._settle([self._of_the_dead(lease, row, marks, asked) for lease in leases])
            self._store.retire(row.number, self._clock.now())
        return settled

    def _of_the_dead(
        self, lease: Lease, row: WorkerRow, marks: dict[bytes, Mark], asked: Set[str]
    ) -> Settlement:
        now = self._clock.now()
        mark = marks.get(ids.mark_key(lease.lease))
        if lease.execution_id in asked:
            started_at = None if mark is None else self._wall(mark.started)
            return settling.decide(lease, "cancelled", now, started_at=started_at, error=CANCELLED)
        if mark is None:
            return settling.decide(lease, "unstarted", now, started_at=None)
        started_at = self._wall(mark.started)
        who = f"worker {row.worker_id} (pid {row.pid})"
        if mark.is_over:
            reason = f"{who} died before the end of this run was stored"
            return settling.decide(lease, "stopped", now, started_at=started_at, error=reason)
        reason = f"died while it ran: {who} ended without a word"
        return settling.decide(lease, "died", now, started_at=started_at, error=reason)

    def overdue(
        self, mine: int | None, grace: int | None = None, looked_after: Set[str] = frozenset()
    ) -> list[Settlement]:
        """Settle runs past their timeout and ``grace`` (microseconds; ``GRACE`` if not given).

        Counted from the start mark; for a run without one, from when this process first saw it; for a run of gigq
        0.5.1, by its start time. With no grace, as ``_check_for_timeouts`` asks, from the claim. Runs of the worker
        ``mine``, and those ``looked_after``, are left to whoever runs them.
        """
        grace = GRACE if grace is None else grace
        settled: list[Settlement] = []
        leases = [
            lease
            for lease in self._store.running()
            if (mine is None or lease.worker != mine) and lease.execution_id not in looked_after
        ]
        marks = self._all_marks() if leases else {}
        seen: dict[str, int] = {}
        for lease in leases:
            since = self._since(lease, marks, seen, by_claim=not grace)
            if lease.timeout is None or (self._clock.monotonic() - since) // 1000 <= lease.timeout + grace:
                continue
            settled.append(
                settling.overdue(lease, self._clock.now(), self._wall(since), thread_goes_on=False)
            )
        self._seen = seen
        return self._settle(settled)

    def _since(self, lease: Lease, marks: dict[bytes, Mark], seen: dict[str, int], *, by_claim: bool) -> int:
        mark = marks.get(ids.mark_key(lease.lease))
        if mark is not None:
            return mark.started
        of_old = lease.worker is None or lease.worker < 0
        if (by_claim or of_old) and lease.claimed_at is not None:
            return self._clock.monotonic() - (self._clock.now() - lease.claimed_at) * 1000
        seen[lease.lease] = self._seen.get(lease.lease, self._clock.monotonic())
        return seen[lease.lease]

    def _all_marks(self) -> dict[bytes, Mark]:
        sidecar = self._store.engine.sidecar
        marks: dict[bytes, Mark] = {}
        for row in self._store.workers():
            if row.boot == ids.boot_id() and row.sidecar == sidecar.identity:
                marks |= sidecar.read_marks(row.area)
        return marks

    def _wall(self, monotonic: int) -> int:
        return self._clock.now() - (self._clock.monotonic() - monotonic) // 1000

    def _settle(self, settlements: list[Settlement]) -> list[Settlement]:
        """Write them; those that somebody else has settled meanwhile fall out."""
        if not settlements:
            return []
        done = self._store.exchange(settlements, None, self._clock.now(), late=False)
        lost = {one.lease.execution_id for one in done.lost}
        return [one for one in settlements if one.lease.execution_id not in lost]
