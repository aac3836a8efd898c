"""The functions that are benchmarked: as good as nothing, so that what is measured is the queue."""

from __future__ import annotations

called: list[int] = []
"""The parameters of every call of ``tick`` in this process."""
_spinning = True


def tick(n: int) -> int:
    """Takes a parameter and returns it, so that a result is stored."""
    called.append(n)
    return n


def spin() -> int:
    """Pure Python that never lets go of the interpreter by itself, until told to."""
    turns = 0
    while _spinning:
        turns += 1
    return turns


def stop_spinning() -> None:
    global _spinning
    _spinning = False
