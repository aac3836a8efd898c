"""The second half of the worker's one transaction: what ends while it is pending goes, what is next is claimed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from gigq import ids
from gigq.lease import Lease
from gigq.queues import EVERYTHING, Serving
from gigq.store import admission, graph
from gigq.store.transaction import Transaction, as_json, decode_array

_FURTHER = 128
"""Ready jobs that are looked at beyond those that are wanted, to find some of either kind."""
_FURTHEST = 4000
"""Ready jobs that are looked at to find some of one kind behind those of the other [m: 1 ms]."""
_QUEUES = 256
"""Queues that are looked at for one claim, beside those that the worker names."""
_PRIORITIES = 64
"""Different priorities of ready jobs that rise with time, at once in one queue."""
_PUT_BACK = 2000
"""Ready jobs whose limits have no room, at most, before the rest is left to the next claim."""
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


class Claim(NamedTuple):
    """What a worker wants next."""

    worker: int
    want: int
    serving: Serving = EVERYTHING
    without: Collection[tuple[str, str, str | None]] = ()
    """Functions (module, name, script) that it has tried to import in vain."""
    want_async: int | None = None
    """How many coroutine functions beside ``want`` plain ones; None makes no difference between them."""
    coroutines: Collection[tuple[str, str]] = ()
    """Functions (module, name) that this worker has found to be coroutine functions."""

    @property
    def wants(self) -> bool:
        """Whether it wants anything."""
        return self.want > 0 or bool(self.want_async)


class Claimed(NamedTuple):
    """What a claim took, to be read when the gate is open again."""

    leases: list[str | list[Lease]]
    queues: dict[str, int]
    """How many of each."""
    put_back: int = 0
    """Ready jobs whose limits had no room for them."""

    def read(self) -> list[Lease]:
        """The leases, in the order in which they are to run."""
        read = [part if isinstance(part, list) else decode_array(Lease, part) for part in self.leases]
        return read[0] if len(read) == 1 else [lease for part in read for lease in part]


class Outlook(NamedTuple):
    """What a transaction would find to do, at one look."""

    due_at: int | None
    """When the next pending job is due; microseconds UTC."""
    ends_at: int | None
    """When the next one is over; None if no pending job ever is."""
    opens_at: int | None
    """When somebody has to look at limits; 0 for now."""
    unfinished: int
    first: str | None
    """The first of the queues with ready jobs, by name."""
    last: str | None
    any_settings: int
    """Whether any queue is paused, limited, or ages its jobs."""
    any_limits: int
    """Whether any job has limits."""


class _Ready(NamedTuple):
    """A queue with ready jobs, and room for some."""

    queue: str
    room: int | None
    """How many more may run; None for any number."""
    ageing: int | None
    """Microseconds after which a waiting job counts as one priority higher."""


def look(tx: Transaction) -> Outlook:
    """What there is to do."""
    row = tx.row("peek")
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return Outlook(*row)


# -- what is over while it is pending ------------------------------------------------------------------------------


def expire(tx: Transaction, now: int, limit: int) -> bool:
    """End pending jobs that may not be started any more; whether that were all."""
    ending = tx.array("ending", int, now=now, limit=limit)
    jobs = as_json(ending)
    tx.run("count_jobs", jobs=jobs, sign=-1)
    tx.run("expire", jobs=jobs, now=now)
    tx.run("count_jobs", jobs=jobs, sign=1)
    graph.ended(tx, [], ending, now)
    return len(ending) < limit


def expire_any(tx: Transaction, now: int) -> bool:
    """The same where nobody has looked for a while; whether there were any. Unused, one look at an empty index."""
    ends_at = tx.value("next_end")
    if ends_at is None or ends_at > now:
        return False
    expire(tx, now, graph.BUDGET)
    return True


# -- what is next --------------------------------------------------------------------------------------------------


def is_any_ready(tx: Transaction, serving: Serving, outlook: Outlook) -> bool:
    """Whether a worker would find something to claim."""
    if outlook.first is None or (serving.serves_others and not outlook.any_settings):
        return outlook.first is not None
    if serving.named and _of_named(tx, serving, "[]"):
        return True
    return serving.serves_others and tx.value("ready_from", after="", leaving="[]", limit=1) != "[]"


def claim(
    tx: Transaction, what: Claim, now: int, outlook: Outlook, leaving: dict[str, int]
) -> Claimed | None:
    """Put the best ready jobs under a lease; the caller counts them.

    Args:
        tx: the transaction in which all that is over by ``now`` was ended.
        what: how many, and of which queues.
        now: microseconds UTC.
        outlook: what there is, at this point of the transaction.
        leaving: queue -> how many runs still count in it that have ended.
    """
    if outlook.first is None:
        return None
    serving = what.serving
    taker = _Taker(tx, what, now, outlook)
    if serving.is_everything and outlook.first == outlook.last and not outlook.any_settings:
        taker.take([_Ready(outlook.first, None, None)], taker.left)
        return taker.claimed
    groups: dict[str, list[_Ready]] = {}
    for ready in _ready(tx, serving, leaving):
        groups.setdefault(serving.entry_of(ready.queue), []).append(ready)
    present = [entry for entry in serving.entries if entry in groups]
    serving.begin(present)
    while present and taker.left > 0:
        for entry, share in serving.shares(present, taker.left):
            got = taker.take(groups[entry], share)
            serving.took(entry, got)
            if got < share:  # it has no more
                present.remove(entry)
    return taker.claimed


def _ready(tx: Transaction, serving: Serving, leaving: dict[str, int]) -> list[_Ready]:
    """Queues in which there is something to claim: those that are named, and some of the others."""
    left = as_json(list(leaving))
    found = _of_named(tx, serving, left) if serving.named else []
    if serving.serves_others:
        found += _of_others(tx, serving, left)
    if not leaving:
        return found
    rooms = [
        one if one.room is None else one._replace(room=one.room + leaving.get(one.queue, 0)) for one in found
    ]
    return [one for one in rooms if one.room is None or one.room > 0]


def _of_named(tx: Transaction, serving: Serving, leaving: str) -> list[_Ready]:
    return tx.array("ready_among", _Ready, queues=as_json(serving.named), leaving=leaving)


def _of_others(tx: Transaction, serving: Serving, leaving: str) -> list[_Ready]:
    """All of them if they are few; else some, and at the next claim the ones behind these."""
    limit = _QUEUES + len(serving.named)
    found = tx.array("ready_from", _Ready, after=serving.after, leaving=leaving, limit=limit)
    if not found and serving.after:
        found = tx.array("ready_from", _Ready, after="", leaving=leaving, limit=limit)
    serving.after = found[-1].queue if len(found) == limit else ""
    return [one for one in found if one.queue not in serving.named] if serving.named else found


class _Chosen(NamedTuple):
    """Jobs that will be put under the lease."""

    leases: str | list[Lease]
    jobs: str
    n: int
    queues: dict[str, int]
    n_async: int = 0
    """How many of them are coroutine functions, where those are wanted apart."""


class _Taker:
    """One claim, taken from several queues in turn."""

    def __init__(self, tx: Transaction, what: Claim, now: int, outlook: Outlook) -> None:
        self._tx = tx
        self._what = what
        self._may_end = outlook.ends_at is not None
        self._has_limits = outlook.any_limits
        self._want = what.want
        self._want_async = what.want_async or 0
        self._now = now
        self._run = {"token": ids.lease_token(), "worker": what.worker, "now": now}
        self._leases: list[str | list[Lease]] = []
        self._queues: dict[str, int] = {}
        self._put_back = 0

    @property
    def claimed(self) -> Claimed | None:
        """What was taken so far, and what was not; None if there was nothing."""
        if not self._leases and not self._put_back:
            return None
        return Claimed(self._leases, self._queues, self._put_back)

    @property
    def left(self) -> int:
        """How many more are wanted."""
        return self._want + self._want_async

    def take(self, group: list[_Ready], most: int) -> int:
        """Put up to so many jobs of some queues under the lease; how many there were."""
        chosen = self._choose(group, most)
        while self._has_limits and chosen.n:
            chosen = self._within_limits(chosen)
            if chosen.n or self._put_back >= _PUT_BACK:
                break
            chosen = self._choose(group, most)  # others may be behind those that were put back
        if not chosen.n:
            return 0
        self._tx.run("claim_take", jobs=chosen.jobs, **self._run)
        if self._may_end:
            self._tx.run("forget_ends", jobs=chosen.jobs)
        self._want -= chosen.n - chosen.n_async
        self._want_async -= chosen.n_async
        self._leases.append(chosen.leases)
        for queue, n in chosen.queues.items():
            self._queues[queue] = self._queues.get(queue, 0) + n
        for place, ready in enumerate(group):
            if ready.room is not None:
                group[place] = ready._replace(room=ready.room - chosen.queues.get(ready.queue, 0))
        return chosen.n

    def _within_limits(self, chosen: _Chosen) -> _Chosen:
        """Those that their limits have room for; the others are put back."""
        leases = decode_array(Lease, chosen.leases) if isinstance(chosen.leases, str) else chosen.leases
        found = admission.check(self._tx, leases, self._now)
        if len(found) == len(leases):
            return chosen._replace(leases=leases)
        self._put_back += len(leases) - len(found)
        n_async = sum(map(self._is_async, found)) if chosen.n_async else 0
        return _listed(found, n_async)

    def _choose(self, group: list[_Ready], most: int) -> _Chosen:
        want, want_async = min(self._want, most), min(self._want_async, most)
        if self._what.want_async is None:
            return self._ready(group, want, None)
        if not want or not want_async:
            found = self._ready(group, want or want_async, int(not want))
            return found if want else found._replace(n_async=found.n)
        ready = self._ready(group, max(want, want_async) + _FURTHER, None)
        read = decode_array(Lease, ready.leases) if isinstance(ready.leases, str) else ready.leases
        return self._of_each_kind(read, [want, want_async], most)

    def _ready(self, group: list[_Ready], want: int, kind: int | None) -> _Chosen:
        """The best ready jobs; of one kind only, coroutine functions (1) or others (0), if that is given."""
        [first, *others] = group
        if others or first.ageing is not None:
            return self._ready_among(group, want, kind)
        want = want if first.room is None else min(want, first.room)
        values = {"queue": first.queue, "want": want, **self._run}
        without = as_json(list(self._what.without)) if self._what.without else "[]"
        if kind is not None:
            coroutines = as_json(list(self._what.coroutines))
            values |= {"kind": kind, "most": _FURTHEST, "coroutines": coroutines, "without": without}
            row = self._tx.row("claim_choose_kind", **values)
        elif self._what.without:
            row = self._tx.row("claim_choose_without", without=without, **values)
        else:
            row = self._tx.row("claim_choose", **values)
        assert row is not None  # noqa: S101 - an aggregate has one row
        leases, jobs, n = row
        return _Chosen(leases, jobs, n, {first.queue: n})

    def _ready_among(self, group: list[_Ready], want: int, kind: int | None) -> _Chosen:
        sources = [source for ready in group for source in self._sources(ready)]
        row = self._tx.row(
            "claim_choose_among",
            sources=as_json(sources),
            each=_FURTHEST if kind is not None else max(1, min(want, _FURTHEST // len(sources))),
            want=want,
            kind=kind,
            coroutines=as_json(list(self._what.coroutines)),
            without=as_json(list(self._what.without)),
            **self._run,
        )
        assert row is not None  # noqa: S101 - an aggregate has one row
        leases, jobs, n, queues = row
        return _Chosen(leases, jobs, n, Counter(decode_array(str, queues)))

    def _sources(self, ready: _Ready) -> list[tuple[str, int | None, int, int, int | None]]:
        """Stretches of the index whose jobs are in order: all of a queue, or each of its priorities where they rise."""
        if ready.ageing is None:
            return [(ready.queue, ready.room, _HIGHEST, _LOWEST, None)]
        levels = self._tx.array("ready_priorities", int, queue=ready.queue, limit=_PRIORITIES)
        return [(ready.queue, ready.room, level, level, ready.ageing) for level in levels]

    def _of_each_kind(self, ready: list[Lease], wanted: list[int], most: int) -> _Chosen:
        """The first ones that there is room for."""
        left = list(wanted)
        chosen: list[Lease] = []
        for lease in ready:
            kind = self._is_async(lease)
            if left[kind] > 0 and len(chosen) < most:
                left[kind] -= 1
                chosen.append(lease)
        return _listed(chosen, wanted[1] - left[1])

    def _is_async(self, lease: Lease) -> int:
        if lease.is_async is not None:
            return lease.is_async
        return (lease.module, lease.function) in self._what.coroutines


def _listed(leases: list[Lease], n_async: int) -> _Chosen:
    queues = Counter([lease.queue for lease in leases])
    jobs = as_json([lease.seq for lease in leases])
    return _Chosen(leases, jobs, len(leases), queues, n_async)
