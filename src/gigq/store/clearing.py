"""Removing ended jobs, a piece at a time: which may go, what of them goes or stays, and how long they are kept."""

from __future__ import annotations

import time
from typing import NamedTuple

from gigq.status import CLEARABLE
from gigq.store import labels
from gigq.store.space import Space
from gigq.store.transaction import Transaction, as_json, decode_array
from gigq.store.verbs import PIECE, Verbs

END = 2**63 - 1
"""Behind the newest job."""
_LEAST, _MOST = 20, 2000
"""Jobs that one transaction removes."""
_QUICK, _SLOW = 0.008, 0.02
"""Seconds: what takes less may be more, what takes longer must be less (large results take longer)."""
_LOOKED_AT = 1000
"""Jobs in one read of a sweep [m: 1 ms]."""


class Swept(NamedTuple):
    """What a piece of a status holds."""

    may_go: list[int]
    first_to_come: int | None
    """When the first of the others ended that are not old enough."""
    low: int | None
    """The last job that was looked at; None if that was all."""


class Clearing(Space, Verbs):
    """The verbs that remove ended jobs."""

    _piece = 500

    def clear(self, before: int | None, now: int) -> int:
        """Remove completed and cancelled jobs, sparing what others still depend on; how many went."""
        total = 0
        while True:
            gone = sum(self._clear_status(status.value, before, now) for status in sorted(CLEARABLE, key=str))
            total += gone
            if not gone:
                while self.give_back():
                    pass
                return total

    def _clear_status(self, status: str, before: int | None, now: int) -> int:
        """One pass over a status, newest first, a piece at a time."""
        gone, cursor = 0, END
        while True:
            with self._reading() as tx:
                candidates = tx.column(
                    "clear_candidates", status=status, cursor=cursor, before=before, now=now, limit=_MOST
                )
            if not candidates:
                return gone
            cursor = candidates[-1]
            while candidates:
                went, candidates = self.let_go(status, candidates, before, now)
                gone += went

    def let_go(
        self, status: str, candidates: list[int], before: int | None, now: int
    ) -> tuple[int, list[int]]:
        """Remove the first of those candidates that may still go, as many as one transaction should.

        Returns:
            How many went, and the candidates that are left.
        """
        some = candidates[: self._piece]
        with self._writing() as tx:
            began = time.monotonic()
            gone, is_done = _clear(tx, status, some, before, now)
        took = time.monotonic() - began
        if took > _SLOW:
            self._piece = max(_LEAST, self._piece // 2)
        elif took < _QUICK and len(some) == self._piece:
            self._piece = min(_MOST, self._piece * 2)
        return gone, candidates[len(some) :] if is_done else candidates

    # -- how long they are kept ------------------------------------------------------------------------------

    def retain(self, ages: dict[str, int | None]) -> None:
        """Set how long (microseconds) the jobs of some statuses are kept after their end; None is for ever."""
        with self._writing(ring=False) as tx:
            for status, age in ages.items():
                if age is None:
                    tx.run("retain_for_ever", status=status)
                else:
                    tx.run("retain", status=status, age=age)

    def retention(self) -> dict[str, int]:
        """Status -> how long its jobs are kept, microseconds; those that are not in it are kept for ever."""
        with self._reading() as tx:
            return {row["status"]: row["age"] for row in tx.records("retention")}

    def sweep(self, status: str, before: int, low: int, high: int, now: int) -> Swept:
        """Look which jobs of a status that ended before a moment may go, newest first from below ``high``."""
        with self._reading() as tx:
            row = tx.row("sweep", status=status, before=before, low=low, high=high, now=now, limit=_LOOKED_AT)
            assert row is not None  # noqa: S101 - an aggregate has one row
            may_go, first_to_come, last, n = row
            return Swept(decode_array(int, may_go), first_to_come, last if n == _LOOKED_AT else None)


def _clear(tx: Transaction, status: str, those: list[int], before: int | None, now: int) -> tuple[int, bool]:
    """Remove those of the candidates that may still go; how many went, and whether that was all there is to do."""
    jobs = as_json(tx.array("clear_choose", int, jobs=as_json(those), status=status, before=before, now=now))
    if tx.run("clear_keep_id", jobs=jobs, limit=PIECE) == PIECE:
        return 0, False  # they have very many children
    workflows = as_json(tx.array("workflows_of", int, jobs=jobs)) if tx.value("any_workflow") else None
    tx.run("count_jobs", jobs=jobs, sign=-1)
    tx.run("clear_edges", jobs=jobs)
    tx.run("clear_executions", jobs=jobs)
    tx.run("clear_output", jobs=jobs)
    tx.run("clear_progress", jobs=jobs)
    tx.run("clear_params", jobs=jobs)
    labels.remove(tx, jobs)
    gone = tx.run("clear_jobs", jobs=jobs)
    if workflows is not None:
        tx.run("clear_spans", jobs=jobs)
        tx.run("clear_workflows", workflows=workflows)
    return gone, True
