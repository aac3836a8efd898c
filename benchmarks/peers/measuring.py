"""The three measures of a peer. Runs under the peer's interpreter: the standard library, and the peer."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

from benchmarks import exact
from benchmarks.peers.peer import Taken
from benchmarks.plan import Sample


def submit_one_by_one(folder: str, peer: str, count: int, **arguments: Any) -> Sample:
    taken = _whole(folder, peer, count, bulk=False, **arguments)
    return _sample(count, taken.submitting, taken)


def submit_bulk(folder: str, peer: str, count: int, **arguments: Any) -> Sample:
    taken = _whole(folder, peer, count, bulk=True, **arguments)
    return _sample(count, taken.submitting, taken)


def drain(folder: str, peer: str, count: int, *, bulk: bool, **arguments: Any) -> Sample:
    """``bulk`` says only how they are submitted before."""
    taken = _whole(folder, peer, count, bulk=bulk, **arguments)
    return _sample(count, taken.draining, taken)


def _whole(folder: str, peer: str, count: int, *, bulk: bool, **arguments: Any) -> Taken:
    taken: Taken = importlib.import_module(peer).submit_and_drain(folder, count, bulk=bulk, **arguments)
    return taken


def _sample(count: int, seconds: float, taken: Taken) -> Sample:
    return Sample({"rate": count / seconds}, exact.check_calls(count, taken.called))


def wait_until(is_so: Callable[[], bool], seconds: float = 300, every: float = 0.005) -> None:
    """Look again and again.

    Raises:
        TimeoutError: it did not come to be.
    """
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not drained after {seconds:.0f} s")
        time.sleep(every)


class stopwatch:  # noqa: N801 - reads like a function
    """``with stopwatch() as taken: ...`` and then ``taken.seconds``."""

    seconds = 0.0

    def __enter__(self) -> stopwatch:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start
