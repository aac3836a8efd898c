"""What the keys of limits have room for, as one transaction sees it.

How many run is reckoned from the jobs that run: nothing is counted that a crash could leave behind. What has started
within the time of a rate stands in a ledger, ``limit_start``, of which ``used`` is the sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct

from gigq.lease import START_WITHIN
from gigq.store.transaction import Transaction, as_json, decode_array

AHEAD = 1000
"""Jobs of one queue that a key lets through before they are claimed: more would only be walked over by each reckoning."""
_PIECE = 2000
"""Starts that one transaction takes out of the ledger."""


class Start(NamedTuple):
    """A start that counts, as it stands in the ledger."""

    key: int
    at: int
    job: int
    cost: int


class Room(Struct, array_like=True):
    """A key: what it allows, and what is taken of that."""

    number: int
    concurrency: int | None
    amount: int | None
    per: int | None
    used: int
    backs_off_until: int | None
    is_crowded: int
    """Whether it let nobody through for want of claims, when somebody looked last."""
    first_start: int | None
    """When the oldest start was that counts; see ``limit_start``."""
    running: int
    """What the jobs cost that run."""
    let_through: list[tuple[str, int, int]] = []
    """Queue, cost, how many of the jobs that were let through and are not claimed yet; for an admission only."""
    lines: int = 0
    """How many lines it has, 2 standing for any number; for an admission only."""
    ready: dict[str, tuple[int, int]] = {}
    """The same, cost and how many, by queue."""
    new_starts: int = 0

    def __post_init__(self) -> None:
        self.ready = {queue: (cost, n) for queue, cost, n in self.let_through}

    def lacks(self, cost: int, now: int, queue: str | None = None) -> bool:
        """Whether there is no room for a job that costs so much.

        With a queue, those of it that were let through and are not claimed yet count as if they ran. Those of other
        queues do not: nobody may be there to claim them.
        """
        ready, n = self.ready.get(queue or "", (0, 0))
        return (
            n >= AHEAD
            or self._is_busy(cost, ready)
            or self._backs_off(now)
            or (self.amount is not None and self.used + ready + min(cost, self.amount) > self.amount)
        )

    @property
    def crowds(self) -> bool:
        """Whether so many of a queue were let through that there are no more before there are claims."""
        return any(n >= AHEAD for _, n in self.ready.values())

    def opens_at(self, cost: int, now: int) -> int | None:
        """When time alone may make room where ``lacks`` says that there is none; None if only the end of a run does."""
        if self._is_busy(cost, 0):
            return None
        if self._backs_off(now):
            return self.backs_off_until
        if self.first_start is None or self.per is None:
            return None
        return self.first_start + self.per

    def spare(self, now: int, queue: str = "") -> int:
        """How many jobs of cost 1 there is room for, at most."""
        if self.lacks(1, now, queue):
            return 0
        ready, _ = self.ready.get(queue, (0, 0))
        left = AHEAD if self.concurrency is None else self.concurrency - self.running - ready
        return left if self.amount is None else min(left, self.amount - self.used - ready)

    def let_in(self, cost: int, queue: str) -> None:
        """A job goes to where it can be claimed."""
        ready, n = self.ready.get(queue, (0, 0))
        self.ready[queue] = ready + self._held(cost), n + 1

    def take(self, cost: int, now: int) -> int | None:
        """A job is claimed; what it takes of the rate, None where there is none."""
        self.running += self._held(cost)
        if self.amount is None:
            return None
        taken = min(cost, self.amount)
        self.used += taken
        self.new_starts += taken
        if self.first_start is None:
            self.first_start = now + START_WITHIN
        return taken

    def _held(self, cost: int) -> int:
        return cost if self.concurrency is None else min(cost, self.concurrency)

    def _is_busy(self, cost: int, ready: int) -> bool:
        if self.concurrency is None:
            return False
        return self.running + ready + self._held(cost) > self.concurrency

    def _backs_off(self, now: int) -> bool:
        return self.backs_off_until is not None and self.backs_off_until > now


def read(tx: Transaction, keys: Iterable[int], now: int, *, admitted: bool) -> dict[int, Room]:
    """Some keys, by number, perhaps with what was let through; starts whose time is over leave the ledger first."""
    listed = as_json(sorted(set(keys)))
    statement = "rooms_beside_admitted" if admitted else "rooms"
    found = tx.array(statement, Room, keys=listed)
    if any(room.first_start is not None and room.first_start + (room.per or 0) <= now for room in found):
        over = tx.array("starts_that_are_over", Start, keys=listed, now=now, limit=_PIECE)
        forget(tx, over)
        found = tx.array(statement, Room, keys=listed)
    return {room.number: room for room in found}


def forget(tx: Transaction, starts: list[Start]) -> None:
    """Take starts out of the ledger."""
    if starts:
        listed = as_json(starts)
        tx.run("forget_starts", starts=listed)
        tx.run("give_back_rate", starts=listed)


def costs_of(costs: str | None, keys: list[int]) -> list[int]:
    """What a job takes of each of its keys, from its column ``costs``."""
    return [1] * len(keys) if costs is None else decode_array(int, costs)
