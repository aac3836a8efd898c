"""A claimed run on its way through an executor, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gigq.ids import mark_key
from gigq.lease import Lease
from gigq.status import End

if TYPE_CHECKING:
    from gigq.newjob import NewJob


class Call:
    """A claimed run: what an executor gets, and gives back when it has ended.

    There are tens of thousands in a second, so what is rarely set is a default of the class.
    """

    started = 0
    """Monotonic nanoseconds; 0 before the start, as far as this process knows."""
    end: End = "unstarted"
    """How it ended, once it has."""
    ended = 0
    """Monotonic nanoseconds."""
    result: str | None = None
    """JSON text."""
    error: str | None = None
    grown: list[NewJob] | None = None
    """What it has added to its graph."""
    delay: int | None = None
    """Microseconds until the job runs again, where the run or its policy says so."""
    backs_off: str | None = None
    """See control.Control."""

    is_async = False
    """Whether it takes a slot for coroutines."""
    asked: End | None = None
    """Why it was asked to stop."""
    looks = False
    """Whether its function has ever looked for that."""
    cancel: Callable[[], object] | None = None
    """Cancels the coroutine that is running, from any thread."""
    inside = False
    """Whether its function is running."""
    finished = False
    abandoned = False
    """Settled as a timeout while its thread went on."""
    child: Any = None
    """The process that has it."""
    estimate = 0
    """Nanoseconds that it is thought to take."""

    def __init__(self, lease: Lease, slot: int) -> None:
        self.lease = lease
        self.slot = slot
        """Where its start mark is; nobody else's until it is settled."""

    @property
    def key(self) -> bytes:
        """Names the run in its mark."""
        return mark_key(self.lease.lease)

    @property
    def facts(self) -> Lease:
        """What a runner must know of it."""
        return self.lease

    def ends(
        self,
        end: End,
        ended: int,
        error: str | None = None,
        result: str | None = None,
        delay: int | None = None,
    ) -> Call:
        """Note how it ended; itself."""
        self.end = end
        self.ended = ended
        self.error = error
        self.result = result
        self.delay = delay
        return self
