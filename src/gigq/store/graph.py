"""What the end of a job means for its children, within one transaction of bounded size.

A parent that completed counts its children down. One that ended badly asks each child's ``on_parent_failure``. What
is more than the budget is left in ``unfinished``, with a cursor, for any worker to go on with; until then the
children behind the cursor count as still waiting for that parent (``edge_is_open``).
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Literal, NamedTuple

from gigq.status import ENDED_BADLY, REPLACED, JobStatus
from gigq.store import uniqueness
from gigq.store.transaction import Transaction, as_json

BUDGET = 2000
"""Rows that one transaction may touch beyond its own jobs."""

Kind = Literal["ended", "revived"]

_BAD = frozenset(state.value for state in ENDED_BADLY)
_FROM_THE_START = -1


class _Child(NamedTuple):
    seq: int
    status: str
    on_parent_failure: str
    cancelled_for: int | None


def ended(tx: Transaction, completed: list[int], badly: list[int], now: int) -> None:
    """Tell the children of jobs that have just ended, well or badly."""
    if not tx.value("any_edge"):
        return
    if completed and tx.value("release_is_simple", parents=as_json(completed), limit=BUDGET):
        tx.run("release_all", parents=as_json(completed))
        completed = []
    if completed or badly:
        news = _News(tx, now)
        news.add("ended", completed + badly)
        news.spread()


def revived(tx: Transaction, parents: list[int], now: int) -> None:
    """Tell the children of jobs that were requeued: what was cancelled for their sake comes back."""
    news = _News(tx, now)
    news.add("revived", parents)
    news.spread()


def go_on(tx: Transaction, now: int) -> bool:
    """Do a piece of the work that was left unfinished; whether there was any."""
    news = _News(tx, now)
    found = False
    while news.left > 0 and (row := tx.row("take_unfinished")) is not None:
        found = True
        kind, parent, cursor = row
        tx.run("forget_unfinished", kind=kind, parent=parent)
        news.add(kind, [parent], cursor)
        news.spread()
    return found


def cancel_doomed(tx: Transaction, jobs: list[int], now: int) -> None:
    """Cancel those of some new jobs that depend on a parent which has ended badly already, and so on down."""
    doomed: defaultdict[int, list[int]] = defaultdict(list)
    for child, parent in tx.array("doomed", tuple[int, int], jobs=as_json(jobs)):
        doomed[parent].append(child)
    news = _News(tx, now)
    for parent, children in doomed.items():
        news.cancel(children, parent)
    news.spread()


class _News:
    """News on its way down the graph."""

    def __init__(self, tx: Transaction, now: int) -> None:
        self._tx = tx
        self._now = now
        self._to_tell: deque[tuple[Kind, int, int]] = deque()
        self.left = BUDGET

    def add(self, kind: Kind, parents: list[int], cursor: int = _FROM_THE_START) -> None:
        """Have the children of some jobs told; those without any cost nothing."""
        if parents:
            fertile = self._tx.array("with_children", int, jobs=as_json(parents))
            self._to_tell.extend((kind, parent, cursor) for parent in fertile)

    def spread(self) -> None:
        while self._to_tell and self.left > 0:
            kind, parent, cursor = self._to_tell.popleft()
            children = self._tx.array("children", _Child, parent=parent, cursor=cursor, limit=self.left)
            self.left -= max(1, len(children))
            if not children:
                continue
            if self.left <= 0:  # perhaps not all: come back with the cursor
                self._to_tell.append((kind, parent, children[-1].seq))
            (self._tell_end if kind == "ended" else self._tell_revival)(parent, children)
        self._leave_the_rest()

    def cancel(self, children: list[int], parent: int) -> None:
        """Cancel pending children for a parent's sake; their own children are told next."""
        if not children:
            return
        jobs = as_json(children)
        self._tx.run("count_jobs", jobs=jobs, sign=-1)
        self._tx.run("cancel_for_parent", jobs=jobs, parent=parent, now=self._now)
        self._tx.run("count_jobs", jobs=jobs, sign=1)
        self.add("ended", children)

    def _leave_the_rest(self) -> None:
        for kind, parent, cursor in self._to_tell:
            self._tx.run("leave_unfinished", kind=kind, parent=parent, cursor=cursor)
        self._to_tell.clear()

    def _tell_end(self, parent: int, children: list[_Child]) -> None:
        end = self._tx.value("status_of", job=parent)
        pending = [child for child in children if child.status == JobStatus.PENDING.value]
        if end == JobStatus.COMPLETED.value:
            self._count_down(parent, [child.seq for child in pending])
        elif end in _BAD:
            self._count_down(parent, [child.seq for child in pending if child.on_parent_failure == "run"])
            self.cancel([child.seq for child in pending if child.on_parent_failure == "cancel"], parent)

    def _count_down(self, parent: int, children: list[int]) -> None:
        jobs = as_json(children)
        if not self._tx.value("is_reviving", parent=parent):
            self._tx.run("release_some", jobs=jobs)
            return
        # Some of them have not heard that this parent was brought back, and may have counted it off before. To look
        # at the edges is right, if the news that is still on its way stands where that look finds it.
        self._leave_the_rest()
        self._tx.run("recount", jobs=jobs)

    def _tell_revival(self, parent: int, children: list[_Child]) -> None:
        waiting = [child.seq for child in children if child.status == JobStatus.PENDING.value]
        cancelled = [
            child.seq
            for child in children
            if child.status == JobStatus.CANCELLED.value and child.cancelled_for == parent
        ]
        others = dict(self._tx.array("doomed", tuple[int, int], jobs=as_json(cancelled)))
        for child, other in others.items():
            self._tx.run("cancel_still_for", jobs=as_json([child]), parent=other)
        back = [child for child in cancelled if child not in others]
        replaced = requeue(self._tx, back, self._now)
        self._tx.run("recount", jobs=as_json(waiting))
        self.add("revived", [child for child in back if child not in replaced])


def requeue(tx: Transaction, jobs: list[int], now: int) -> dict[int, str]:
    """Put ended jobs back to the start; what their parents mean for them is computed afresh.

    Returns:
        Job -> id of the one that has its unique key, for those that are cancelled instead.
    """
    if not jobs:
        return {}
    replaced = uniqueness.regain(tx, jobs, now)
    for job, other in replaced.items():
        listed = as_json([job])
        tx.run("count_jobs", jobs=listed, sign=-1)
        tx.run("give_way", job=job, error=REPLACED.format(other), now=now)
        tx.run("count_jobs", jobs=listed, sign=1)
    listed = as_json([job for job in jobs if job not in replaced])
    tx.run("forget_news_of", jobs=listed)
    tx.run("count_jobs", jobs=listed, sign=-1)
    tx.run("requeue", jobs=listed, now=now)
    tx.run("count_jobs", jobs=listed, sign=1)
    tx.run("recount", jobs=listed)
    return replaced
