"""A claimed run on its way through an executor, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gigq.ids import mark_key
from gigq.status import End

if TYPE_CHECKING:
    from gigq.store.rows import Lease


class Call:
    """A claimed run on its way through an executor."""

    __slots__ = (
        "abandoned",
        "asked",
        "cancel",
        "child",
        "estimate",
        "finished",
        "inside",
        "is_async",
        "key",
        "lease",
        "looks",
        "number",
        "slot",
        "started",
    )

    def __init__(self, lease: Lease, slot: int) -> None:
        self.lease = lease
        self.slot = slot
        self.key = mark_key(lease.lease)
        self.started = 0
        """Monotonic nanoseconds; 0 before the start, as far as this process knows."""
        self.cancel: Callable[[], object] | None = None
        """Cancels the coroutine that is running, from any thread."""
        self.inside = False
        self.is_async = False
        """Whether it takes a slot for coroutines."""
        self.asked: End | None = None
        """Why it was asked to stop."""
        self.looks = False
        """Whether its function has ever looked for that."""
        self.child: Any = None
        """The process that has it."""
        self.number = 0
        """Names it there."""
        self.estimate = 0
        """Nanoseconds that it is thought to take."""
        self.finished = False
        self.abandoned = False
        """Settled as a timeout while its thread went on."""

    @property
    def facts(self) -> Lease:
        """What a runner must know of it."""
        return self.lease


class Outcome:
    """How a call ended."""

    __slots__ = ("call", "end", "ended", "error", "result", "value")

    def __init__(
        self,
        call: Call,
        end: End,
        ended: int,
        result: str | None = None,
        error: str | None = None,
        value: Any = None,
    ) -> None:
        self.call = call
        self.end = end
        self.ended = ended
        """Monotonic nanoseconds."""
        self.result = result
        self.error = error
        self.value = value
