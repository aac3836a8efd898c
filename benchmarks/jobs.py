"""The functions that are benchmarked: as good as nothing, so that what is measured is the queue.

Other processes import them by name, under the peers' interpreters too: nothing but the standard library.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

called: list[int] = []
"""The parameters of every call of ``tick`` in this process."""
_spinning = True


def tick(n: int) -> int:
    """Takes a parameter and returns it, so that a result is stored."""
    called.append(n)
    return n


def tick_without_result(n: int) -> None:
    """For a queue that complains of results that nobody wants."""
    called.append(n)


async def tick_async(n: int) -> int:
    """``tick`` as a coroutine that never waits."""
    called.append(n)
    return n


def echo(text: str) -> str:
    """Params and result of the same size."""
    return text


def started(sent: int) -> list[int]:
    """When it was sent and when it began, by the clock that all processes of a machine share."""
    return [sent, time.monotonic_ns()]


def note(n: int, ledger: str | None = None) -> None:
    """A call that other processes want to know of: a line in a file, written at once."""
    line = f"{n} {time.monotonic_ns()} {os.getpid()}\n".encode()
    _append(ledger or os.environ["BENCHMARK_LEDGER"], line)


def noted(ledger: Path) -> list[tuple[int, int]]:
    """Parameter and moment of every call of ``note``, in nanoseconds."""
    return [
        (int(n), int(moment)) for n, moment, _ in (line.split() for line in ledger.read_text().splitlines())
    ]


def hold(ledger: str, until: str) -> None:
    """Note who runs it, and end when the file ``until`` is there."""
    _append(ledger, f"{time.monotonic_ns()} {os.getpid()}\n".encode())
    while not Path(until).exists():
        time.sleep(0.005)


def _append(ledger: str, line: bytes) -> None:
    """Whole lines, whoever else writes: O_APPEND."""
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def spin() -> int:
    """Pure Python that never lets go of the interpreter by itself, until told to."""
    turns = 0
    while _spinning:
        turns += 1
    return turns


def stop_spinning() -> None:
    global _spinning
    _spinning = False
