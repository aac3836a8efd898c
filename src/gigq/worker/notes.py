"""What running jobs say: progress and output, gathered here and passed on in batches, never one by one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from gigq import shield

K = TypeVar("K")

LONGEST = 64 * 1024
"""Characters of one run's output that are kept between two deliveries: the last ones."""


class Progress(NamedTuple):
    """How far a job is, in its own units."""

    done: float
    total: float | None
    message: str | None


class Note(NamedTuple):
    """What a run has said since the last delivery."""

    text: str
    progress: Progress | None


class _Page:
    def __init__(self) -> None:
        self.progress: Progress | None = None
        self._parts: deque[str] = deque()
        self._size = 0
        self._dropped = 0

    def write(self, text: str) -> None:
        if len(text) > LONGEST:
            self._dropped += len(text) - LONGEST
            text = text[-LONGEST:]
        self._parts.append(text)
        self._size += len(text)
        while self._size > LONGEST:
            gone = len(self._parts.popleft())
            self._size -= gone
            self._dropped += gone

    def text(self) -> str:
        told = f"[... {self._dropped:,} characters were dropped here ...]\n" if self._dropped else ""
        return told + "".join(self._parts)


class Notes(Generic[K]):
    """Of all runs in a process; ``K`` is what names a run here. Safe in all threads."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """Args:
        wake: called when there is something to deliver and was nothing before.
        """
        self._wake = wake
        self._pages: dict[K, _Page] = {}
        self._guard = threading.Lock()

    def __bool__(self) -> bool:
        """Whether there is something to deliver."""
        return bool(self._pages)

    def write(self, run: K, text: str) -> None:
        """Add to the output of a run."""
        if text:
            self._on_page(run, lambda page: page.write(text))

    def progress(self, run: K, progress: Progress) -> None:
        """The newest one counts."""
        self._on_page(run, lambda page: setattr(page, "progress", progress))

    def take(self, run: K | None = None) -> list[tuple[K, Note]]:
        """All of it, or what one run has said; it is the caller's to deliver now."""
        with self._guard:
            if run is None:
                pages, self._pages = list(self._pages.items()), {}
            else:
                page = self._pages.pop(run, None)
                pages = [] if page is None else [(run, page)]
        return [(key, Note(page.text(), page.progress)) for key, page in pages]

    def _on_page(self, run: K, do: Callable[[_Page], None]) -> None:
        shield.enter()  # an exception that asks the job to stop must not come while the lock is held
        try:
            with self._guard:
                is_first = not self._pages
                page = self._pages.get(run)
                if page is None:
                    page = self._pages[run] = _Page()
                do(page)
            if is_first:
                self._wake()
        finally:
            shield.leave()
