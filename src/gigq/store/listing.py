"""Lists of jobs, newest first. What no index answers is looked for a piece at a time, so that no read is a long one."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from gigq.ids import sought
from gigq.store.transaction import Transaction
from gigq.store.verbs import Verbs

NEWEST = 2**63 - 1
"""The cursor of a list from its beginning."""
MOST = 100_000
"""Jobs that one call looks at, of those that it could find by an index."""
_PIECE = 2000
"""Jobs in one read [m: 3 ms]."""
_SEARCHED = 200
"""The same where their texts are read, which may be a megabyte each."""

Walk = Literal["all", "status", "queue", "tag"]


class Wanted(NamedTuple):
    """What a list is restricted to; None makes no difference."""

    status: str | None = None
    queue: str | None = None
    tag: str | None = None
    module: str | None = None
    function: str | None = None
    script: str | None = None
    search: str | None = None
    """A LIKE pattern; ``search_json`` is how JSON spells it, where that differs."""
    search_json: str | None = None


class Found(NamedTuple):
    """A piece of a list."""

    records: list[dict[str, Any]]
    cursor: int | None
    """Where the next piece begins; None at the end."""


class Listing(Verbs):
    """The verbs that list jobs."""

    def place_of(self, job_id: str) -> int | None:
        """The cursor behind a job; None if it is not in the queue."""
        with self._reading() as tx:
            found = tx.row("find", id=sought(job_id))
            return None if found is None else int(found[0])

    def find(self, wanted: Wanted, limit: int, cursor: int = NEWEST) -> Found:
        """Jobs as the view shows them, newest first; each piece of the way is one moment of the database.

        Args:
            wanted: which.
            limit: how many at most.
            cursor: only those that were submitted before this number.
        """
        with self._reading() as tx:
            walk = _walk(tx, wanted)
        if walk is None:
            return Found([], None)
        piece = _piece(walk, wanted)
        asked = wanted._asdict()
        left = MOST
        records: list[dict[str, Any]] = []
        while True:
            more = limit + 1 - len(records)
            with self._reading() as tx:
                floor = tx.value(f"floor_{walk}", cursor=cursor, most=piece, **asked) or 0 if piece else 0
                records += tx.records(f"list_{walk}", cursor=cursor, floor=floor, limit=more, **asked)
            if len(records) > limit:
                records.pop()
                return Found(records, records[-1]["seq"] if records else None)
            left -= piece
            cursor = floor
            if floor == 0 or left <= 0:
                return Found(records, floor or None)


def _walk(tx: Transaction, wanted: Wanted) -> Walk | None:
    """Along what to go: the shortest way that an index knows; None where nothing can be found."""
    if wanted.tag is not None:
        return "tag"
    if wanted.status is None and wanted.queue is None:
        return "all"
    counted = tx.row("counted", status=wanted.status, queue=wanted.queue)
    assert counted is not None  # noqa: S101 - an aggregate has one row
    of_status, of_queue, of_both = counted
    if wanted.status is None:
        if not of_queue:
            return None
        return "all" if wanted.queue == "default" else "queue"
    if wanted.queue is None:
        return "status"
    if not of_both:
        return None
    return "status" if wanted.queue == "default" or of_status <= of_queue else "queue"


def _piece(walk: Walk, wanted: Wanted) -> int:
    """Jobs in one read; 0 for as many as there are, where each of them is one that is wanted."""
    if wanted.search is not None:
        return _SEARCHED
    asked = {name for name, value in wanted._asdict().items() if value is not None}
    return _PIECE if asked - {walk} else 0
