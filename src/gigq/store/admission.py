"""Limits within the transactions that touch them: who waits in which line, who may go on, and what a run holds.

A job with limits is born held, in the line of all jobs of its queue with the same limits. A line whose first job finds
no room waits for the key that lacks it. When a run of that key ends, a start leaves its time, or an operator changes
it, the key opens, and the exchange lets the best of the lines through, as many as there is room for. The claim looks
once more, at what really runs. Triggers (0009_limits.sql) see to it that no way into or out of a line is overlooked.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from gigq.lease import START_WITHIN, Lease
from gigq.limits import JOINT
from gigq.newjob import NewJob
from gigq.store import rooms
from gigq.store.rooms import Room, Start
from gigq.store.rows import Settlement
from gigq.store.transaction import Transaction, as_json

_LINES = 128
"""Lines, and keys, that are looked at together."""
_FEW, _MANY = 4, 256
"""Of them for one key, at least and at most: there may be thousands, and the first ones take its room."""
_JOBS = 1000
"""Jobs that one exchange lets through, and lines that it looks at: about so many, and at most twice."""
_FROM_ONE_LINE = 255
_LAST = (2**64, 0)
_NOW = 0
"""``waits_for`` of a line, and ``opens_at`` of a key, that are to be looked at."""


# -- submission --------------------------------------------------------------------------------------------------


def enter(tx: Transaction, jobs: list[NewJob], base: int) -> None:
    """Have those of new jobs, numbered from ``base`` on, that have limits stand in their lines."""
    places: dict[tuple[str, tuple[str, ...]], int] = {}
    declared: dict[str, tuple[str, int | None, int | None, int | None]] = {}
    standing: list[tuple[int, int, str | None]] = []
    for number, job in enumerate(jobs, start=base):
        if job.limits is None:
            continue
        for share in job.limits:
            declared[share.key] = share[:4]
        line = job.queue, tuple([share.key for share in job.limits])
        costs = [share.cost for share in job.limits]
        place = places.setdefault(line, len(places))
        standing.append((number, place, None if set(costs) == {1} else as_json(costs)))
    if not standing:
        return
    tx.run("declare_limits", keys=as_json(list(declared.values())))
    lines = as_json([(queue, JOINT.join(keys), keys) for queue, keys in places])
    if tx.run("insert_lines", lines=lines):
        tx.run("insert_members", lines=lines)
    numbers = tx.array("line_numbers", int, lines=lines)
    tx.run("stand_in_line", jobs=as_json([(seq, numbers[place], costs) for seq, place, costs in standing]))


def enter_anew(tx: Transaction, job: NewJob, seq: int) -> None:
    """Have a pending job that was declared anew stand in the line of the limits that it has now, if it has any."""
    if job.limits is None:
        tx.run("leave_line", job=seq)
    else:
        enter(tx, [job], seq)


# -- the exchange ------------------------------------------------------------------------------------------------


class _Line(NamedTuple):
    number: int
    queue: str
    waits_for: int
    keys: list[int]


class _First(NamedTuple):
    """One of the first in a line."""

    line: int
    job: int
    priority: int
    costs: str | None


def admit(tx: Transaction, now: int) -> None:
    """Let the best of the lines through, where keys have opened or lines have changed; what is more comes next time."""
    left = _JOBS
    while left > 0 and (done := _look(tx, now, left)):
        left -= done


def _look(tx: Transaction, now: int, most: int) -> int:
    """At some lines and keys: how many there were, or how many jobs went on if those were more; 0 for none."""
    opening = tx.array("keys_that_open", int, now=now, limit=_LINES)
    found = rooms.read(tx, opening, now, admitted=True)
    few = max([_FEW, *(min(room.spare(now), _MANY) for room in found.values())])
    lines = tx.array("lines_to_look_at", _Line, keys=as_json(opening), limit=_LINES, few=few)
    found |= rooms.read(tx, {key for line in lines for key in line.keys} - set(found), now, admitted=True)
    admission = _Admission(tx, lines, found, now, few)
    admission.go_through(most)
    admission.write(opening)
    return max(len(admission.through), len(lines), len(opening))


class _Admission:
    """One look at some lines."""

    def __init__(
        self, tx: Transaction, lines: list[_Line], found: dict[int, Room], now: int, few: int
    ) -> None:
        self._tx = tx
        self._few = few
        self._lines = {line.number: line for line in lines}
        self._rooms = found
        self._now = now
        self._closed: dict[tuple[int, str], int | None] = {}
        """(key, queue) that had no room for a job, so that none which comes later may overtake it; when it may open."""
        self._floors: dict[tuple[int, str], tuple[int, int]] = {}
        """(key, queue) of which there may be more lines than are looked at -> a place in the order before all of those."""
        self._put: list[tuple[int, int | None, int | None, int | None]] = []
        self.through: list[int] = []
        self._admitted: list[tuple[int, int, int]] = []

    def go_through(self, most: int) -> None:
        """In the order of claims, however many lines there are."""
        share = max(1, min(_FROM_ONE_LINE, most // max(1, len(self._lines))))
        asked = {line.number: self._how_many(line, share) for line in self._lines.values()}
        firsts = self._first_ones(asked)
        self._find_floors(firsts)
        heads: list[tuple[int, int, int]] = []
        for number in self._lines:
            self._compete(heads, number, firsts[number])
        while heads:
            number = heapq.heappop(heads)[2]
            waiting = firsts[number]
            first = waiting[-1]
            full = self._let_through(self._lines[number], first)
            if full is not None:
                self._put.append((number, full, first.priority, first.job))
                continue
            waiting.pop()
            asked[number] -= 1
            if (
                not waiting and asked[number] == 0
            ):  # there may be more, and they come before those of other lines
                self._put.append((number, _NOW, first.priority, first.job))
                line = self._lines[number]
                self._closed.update({(key, line.queue): _NOW for key in line.keys})
            else:
                self._compete(heads, number, waiting)

    def _compete(self, heads: list[tuple[int, int, int]], number: int, waiting: list[_First]) -> None:
        """Have the next one of a line compete with the first ones of others."""
        if waiting:
            heapq.heappush(heads, (-waiting[-1].priority, waiting[-1].job, number))
        else:
            self._put.append((number, None, None, None))

    def _how_many(self, line: _Line, most: int) -> int:
        """Of its first jobs: as many as may go on, and the one that will be the first then; a power of two."""
        spare = min(self._rooms[key].spare(self._now, line.queue) for key in line.keys)
        return 1 << min(spare, most).bit_length()

    def _first_ones(self, asked: dict[int, int]) -> dict[int, list[_First]]:
        """Of each line, the best at the end."""
        by_number: defaultdict[int, list[int]] = defaultdict(list)
        for line, most in asked.items():
            by_number[most].append(line)
        firsts: dict[int, list[_First]] = {line: [] for line in asked}
        for most, lines in by_number.items():
            for first in self._tx.array("first_in_lines", _First, lines=as_json(lines), most=most):
                firsts[first.line].append(first)
        for waiting in firsts.values():
            waiting.sort(key=lambda first: (first.priority, -first.job))
        return firsts

    def _find_floors(self, firsts: dict[int, list[_First]]) -> None:
        heads: defaultdict[tuple[int, str], list[tuple[int, int]]] = defaultdict(list)
        for line in self._lines.values():
            if waiting := firsts[line.number]:
                heads[line.waits_for, line.queue].append((-waiting[-1].priority, waiting[-1].job))
        changed = [line for line in self._lines.values() if line.waits_for == _NOW]
        last = changed[-1].queue if len(changed) >= _LINES else None
        for (key, queue), found in heads.items():
            if key != _NOW and len(found) >= self._few:
                self._floors[key, queue] = max(found)
            elif key == _NOW and queue == last:
                shared = (key for key, room in self._rooms.items() if room.lines > 1)
                self._floors |= {
                    (key, queue): min(max(found), self._floors.get((key, queue), _LAST)) for key in shared
                }

    def _let_through(self, line: _Line, first: _First) -> int | None:
        """None, or the key that has no room."""
        costs = rooms.costs_of(first.costs, line.keys)
        shares = list(zip(line.keys, costs, strict=True))
        for key, cost in shares:
            door, room = (key, line.queue), self._rooms[key]
            if door in self._closed:
                return key
            if (-first.priority, first.job) > self._floors.get(door, _LAST):
                self._closed[door] = _NOW
                return key
            if room.lacks(cost, self._now, line.queue):
                self._closed[door] = room.opens_at(cost, self._now)
                return key
        for key, cost in shares:
            self._rooms[key].let_in(cost, line.queue)
            self._admitted.append((key, first.job, cost))
        self.through.append(first.job)
        return None

    def write(self, opening: list[int]) -> None:
        """What came of it: for jobs, lines and keys."""
        tx = self._tx
        if self.through:
            tx.run("note_admitted", rows=as_json(self._admitted))
            tx.run("let_through", jobs=as_json(self.through))
        if self._put:
            tx.run("put_lines", lines=as_json(self._put))
        opens: dict[int, int | None] = dict.fromkeys(self._with_more(), _NOW)
        for (key, _), at in self._closed.items():
            if opens.get(key) != _NOW:
                opens[key] = min((one for one in (opens.get(key), at) if one is not None), default=None)
        keys = [(key, opens.get(key), int(self._rooms[key].crowds)) for key in {*opening, *opens}]
        if keys:
            tx.run("put_keys", keys=as_json(keys))

    def _with_more(self) -> list[int]:
        """Keys that have room, and for which more lines may wait than were looked at."""
        doors = Counter([(line.waits_for, line.queue) for line in self._lines.values()])
        return [
            door[0] for door, n in doors.items() if n >= self._few and door[0] and door not in self._closed
        ]


def check(tx: Transaction, leases: list[Lease], now: int) -> list[Lease]:
    """Those of the jobs about to be claimed that their limits have room for; the others go back into their lines."""
    limited = [lease.seq for lease in leases if lease.line is not None]
    if not limited:
        return leases
    wants = tx.array("limits_of", tuple[int, str | None, list[int]], jobs=as_json(limited))
    found = rooms.read(tx, {key for *_, keys in wants for key in keys}, now, admitted=False)
    back: set[int] = set()
    closed: set[int] = set()
    held: list[tuple[int, int, int]] = []
    starts: list[Start] = []
    for job, costs, keys in wants:
        shares = list(zip(keys, rooms.costs_of(costs, keys), strict=True))
        full = next((key for key, cost in shares if key in closed or found[key].lacks(cost, now)), None)
        if full is not None:
            closed.add(full)
            back.add(job)
            continue
        for key, cost in shares:
            held.append((key, job, cost))
            if (taken := found[key].take(cost, now)) is not None:
                starts.append(Start(key, now + START_WITHIN, job, taken))
    _write_claim(tx, found, held, starts, back)
    return [lease for lease in leases if lease.seq not in back] if back else leases


def _write_claim(
    tx: Transaction,
    found: dict[int, Room],
    held: list[tuple[int, int, int]],
    starts: list[Start],
    back: set[int],
) -> None:
    if held:
        rows = as_json(held)
        tx.run("note_holding", rows=rows)
        tx.run("forget_admitted", rows=rows)
    if crowded := [(room.number, _NOW, 0) for room in found.values() if room.is_crowded]:
        tx.run("put_keys", keys=as_json(crowded))
    if starts:
        tx.run("note_starts", starts=as_json(starts))
        used = [
            (room.number, room.new_starts, (room.first_start or 0) + (room.per or 0))
            for room in found.values()
            if room.new_starts
        ]
        tx.run("use_rate", keys=as_json(used))
    if back:
        tx.run("back_in_line", jobs=as_json(list(back)))


# -- the end of a run --------------------------------------------------------------------------------------------


def let_go(tx: Transaction, ended: Sequence[Settlement]) -> None:
    """Runs have ended, whichever way: what they held is free, and the ledger learns when they really started."""
    listed = as_json([(one.lease.seq, one.lease.line) for one in ended])
    tx.run("let_go", jobs=listed)
    if tx.value("any_start"):
        _correct_starts(tx, ended)
    if backs_off := [
        (one.lease.line, one.backs_off or None, one.due_at)
        for one in ended
        if one.backs_off is not None and one.due_at is not None
    ]:
        tx.run("back_off", jobs=as_json(backs_off))
    tx.run("open_keys", lines=as_json(list({one.lease.line for one in ended})))


def _correct_starts(tx: Transaction, ended: Sequence[Settlement]) -> None:
    noted = [(one, one.lease.claimed_at + START_WITHIN) for one in ended if one.lease.claimed_at is not None]
    if undone := [(one.lease.seq, one.lease.line, at) for one, at in noted if one.run is None]:
        rooms.forget(tx, tx.array("starts_of", Start, jobs=as_json(undone)))
    if begun := [
        (one.lease.seq, one.lease.line, at, one.started_at)
        for one, at in noted
        if one.run is not None and one.started_at is not None
    ]:
        tx.run("correct_starts", jobs=as_json(begun))
