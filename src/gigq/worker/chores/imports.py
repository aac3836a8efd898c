"""Jobs held for want of a module: let go what this worker could import, give up on what nobody can."""

from __future__ import annotations

from gigq import callables
from gigq.clock import SECOND
from gigq.store import Store

GIVE_UP = 24 * 3600 * SECOND
"""Microseconds after which a held job fails."""

Reference = tuple[str, str, str | None]


def release(store: Store, missing: set[Reference]) -> int:
    """Release what this worker might import; ``missing`` is what it has tried in vain."""
    released = 0
    for row in store.held_imports():
        reference = (row["function_module"], row["function_name"], row["script"])
        if reference not in missing and callables.available(*reference):
            released += store.release_held(row["held_by"], row["function_name"], row["script"])
    return released


def expire(store: Store, now: int) -> int:
    """Fail what has been held for a day."""
    return store.fail_held(now - GIVE_UP, now)
