"""The worker's exchanges with the store, one at a time: in the loop's own thread, or in one beside it.

While SQLite works, another thread may run Python. So a large exchange of a worker whose jobs run elsewhere goes on
beside the loop, which meanwhile hears its children and prepares the next one.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

from gigq import log
from gigq.clock import Clock
from gigq.errors import StoreBusy, StoreError, StoreReplaced
from gigq.newjob import MOST_ADDED
from gigq.store import Store
from gigq.store.claiming import Claim
from gigq.store.notes import NoteRow
from gigq.store.rows import Exchanged, Settlement

PATIENCE = 0.05
"""Seconds the loop stands at the gate itself; then a helper stands in line, and the loop goes on."""
_BYTES = 64 * 1024 * 1024
"""Of results in one transaction."""
_TROUBLE = 1.0
"""Seconds between two tries while the database cannot be written."""
_MANY = 64
"""Settlements that are worth a hand-over between threads [m: 40 to 100 us]."""


class Order(NamedTuple):
    """What one exchange carries."""

    ended: list[Settlement]
    later: list[Settlement]
    """What it would have been too much with."""
    claim: Claim | None
    said: list[NoteRow]


class Written(NamedTuple):
    """An exchange that was committed."""

    order: Order
    answer: Exchanged


class Exchanges:
    """Outcomes wait here until they are stored."""

    def __init__(
        self, store: Store, clock: Clock, worker_id: str, wake: Callable[[], None], *, beside: bool
    ) -> None:
        """Args:
        store: the database.
        clock: where the time is read.
        worker_id: whose they are.
        wake: wakes the loop, from any thread.
        beside: whether large ones may have a thread of their own: the store gives connections to any, and no job
            runs in this process.
        """
        self._store = store
        self._clock = clock
        self._worker_id = worker_id
        self._wake = wake
        self._beside = _Thread(store) if beside else None
        self.ended: list[Settlement] = []
        """Waiting for the next exchange."""
        self._order: Order | None = None
        """The one that is under way."""
        self._here: Callable[[], Exchanged] | None = None
        """What it is to do in this thread."""
        self.has_more = False
        """Whether there was more than one transaction should carry, and the last one was written."""
        self.wait = PATIENCE
        """Seconds that an exchange waits for its turn."""
        self._trouble: StoreError | None = None
        self._trouble_until = 0

    @property
    def is_under_way(self) -> bool:
        """Whether one goes on beside the loop, or its answer has not been taken."""
        return self._order is not None

    @property
    def is_answered(self) -> bool:
        """Whether :meth:`finish` would not wait."""
        return self._here is not None or (self._beside is not None and self._beside.done.is_set())

    @property
    def is_in_trouble(self) -> bool:
        """Whether the database could not be used the last time."""
        return self._trouble is not None

    @property
    def may_try(self) -> bool:
        """Whether it is not too soon after trouble."""
        return self._trouble is None or self._clock.monotonic() >= self._trouble_until

    def try_at_once(self) -> None:
        """Forget that there was trouble."""
        self._trouble = None

    def in_trouble(self, error: StoreError) -> None:
        """Claiming pauses, outcomes are held (as many as were claimed, no more), and it is tried again."""
        if self._trouble is None:
            log.worker_waits_for_store(self._worker_id, error)
            print(f"gigq: {error}", file=sys.stderr, flush=True)
        self._trouble = error
        self._trouble_until = self._clock.monotonic() + int(_TROUBLE * 1e9)

    def begin(self, claim: Claim | None, said: list[NoteRow], *, here: bool = False) -> None:
        """Hand over what has ended; :meth:`finish` has the answer. ``here`` does not let it go on beside the loop."""
        ended, later = _first_bytes(self.ended)
        self.ended, self.has_more = [], False
        self._order = order = Order(ended, later, claim, list(said))
        now, wait = self._clock.now(), self.wait

        def exchange() -> Exchanged:
            return self._store.exchange(
                order.ended, order.claim, now, said=order.said, wait=wait, when_free=self._wake
            )

        if self._beside is not None and not here and len(ended) >= _MANY:
            self._beside.run(exchange, self._wake)
        else:
            self._here = exchange

    def finish(self) -> Written | None:
        """The answer to what was begun, waited for; None if nothing was written, and it will be tried again.

        Raises:
            StoreReplaced: the database is no longer the file it was.
        """
        order, self._order = self._order, None
        assert order is not None  # noqa: S101 - begun
        here, self._here = self._here, None
        stored = False
        try:
            if here is not None:
                answer = here()
            else:
                assert self._beside is not None  # noqa: S101 - begun there
                answer = self._beside.answer()
            stored = True
        except StoreReplaced:
            raise
        except StoreBusy:
            return None  # woken when the turn has come
        except StoreError as error:
            self.in_trouble(error)
            return None
        finally:
            self.ended = order.later + self.ended if stored else order.ended + order.later + self.ended
        self._trouble = None
        self.has_more = bool(order.later)
        return Written(order, answer)

    def pause(self, seconds: float) -> None:
        """Wait for the answer, at most so long."""
        if self._beside is not None:
            self._beside.done.wait(seconds)

    def close(self) -> None:
        """End the thread; what goes on there is waited for."""
        if self._beside is not None:
            self._beside.close()


class _Thread:
    """Runs one thing after the other; started when there is a first one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._work: SimpleQueue[tuple[Callable[[], Exchanged], Callable[[], None]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self.done = threading.Event()
        self._answer: Exchanged | BaseException | None = None

    def run(self, work: Callable[[], Exchanged], then: Callable[[], None]) -> None:
        self.done.clear()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="gigq-exchange", daemon=True)
            self._thread.start()
        self._work.put((work, then))

    def answer(self) -> Exchanged:
        """Waits; raises what the work has raised."""
        self.done.wait()
        answer, self._answer = self._answer, None
        if isinstance(answer, BaseException):
            raise answer
        assert answer is not None  # noqa: S101 - done
        return answer

    def close(self) -> None:
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None

    def _serve(self) -> None:
        try:
            while (todo := self._work.get()) is not None:
                work, then = todo
                try:
                    self._answer = work()
                except BaseException as error:  # noqa: BLE001 - raised where the answer is asked for
                    self._answer = error
                self.done.set()
                then()
        finally:
            with contextlib.suppress(StoreError):
                self._store.engine.leave_thread()


def _first_bytes(settlements: list[Settlement]) -> tuple[list[Settlement], list[Settlement]]:
    """Split off what is more than one transaction should carry: of results, and of jobs that were added."""
    size = sum([len(one.result) for one in settlements if one.result is not None])
    if size <= _BYTES and sum([len(one.grown) for one in settlements if one.grown]) <= MOST_ADDED:
        return settlements, []
    size = added = 0
    for place, settlement in enumerate(settlements):
        size += len(settlement.result or "")
        added += len(settlement.grown or ())
        if (size > _BYTES or added > MOST_ADDED) and place:
            return settlements[:place], settlements[place:]
    return settlements, []
