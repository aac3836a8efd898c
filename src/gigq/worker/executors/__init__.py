"""Where calls run, and how they are stopped. No database here."""

from __future__ import annotations

from typing import Protocol

from gigq.status import End
from gigq.worker.calls import Call
from gigq.worker.notes import Note


class Executor(Protocol):
    """What the worker's loop asks of whatever runs its calls."""

    isolates: bool
    """Whether a call that takes its process down takes no other with it."""

    def is_ready(self) -> bool:
        """Whether a call could start now: until then nothing is to be claimed."""

    def dispatch(self, calls: list[Call]) -> None:
        """Run calls, in order, as soon as there is room."""

    def collect(self) -> list[Call]:
        """What has ended since the last time, given back calls (``unstarted``) included."""

    def collect_late(self) -> list[Call]:
        """Calls that were settled as given up, and whose functions have ended since."""

    def notes(self) -> list[tuple[Call, Note]]:
        """What running jobs have said since the last call; asked after :meth:`collect`, so that nothing comes late."""

    def sleeping(self, asleep: bool) -> bool:
        """Say whether the loop is about to sleep; False if there is no need to, since something has ended."""

    def running(self) -> list[Call]:
        """Calls under way, with their starts."""

    def waiting(self) -> int:
        """Calls that have not started."""

    def give_back(self) -> list[Call]:
        """Take back what has not started: what can be had at once; the rest comes by :meth:`collect`."""

    def stop(self, call: Call, why: End) -> bool:
        """Ask a call under way to stop, with force if that is not enough.

        Returns:
            Whether it is given up with this: the caller settles it, and what it still returns is dropped. Otherwise
            it comes by :meth:`collect` when it has ended.
        """

    def tell_stopping(self) -> None:
        """Let running jobs know that the worker is about to end."""

    def end_now(self) -> None:
        """The time is up: every call under way ends as ``stopped``, by the next :meth:`collect`."""

    def next_check(self) -> float:
        """Seconds after which :meth:`collect` has something to do, whatever ends; inf for never."""

    def close(self) -> None:
        """No more calls come; what still runs here was given up."""
