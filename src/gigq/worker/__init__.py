"""Workers: take leases, run calls, settle accounts."""

from typing import TYPE_CHECKING, Any

from gigq.worker.context import current_job

if TYPE_CHECKING:
    from gigq.worker.worker import Worker


def __getattr__(name: str) -> Any:
    if name != "Worker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gigq.worker.worker import Worker  # a child never needs it, nor the store beneath

    return Worker


__all__ = ["Worker", "current_job"]
