"""Captured output: what a job prints and logs is kept for it, and goes where it went before.

``print`` is told from others' by the context it runs in, so threads and coroutines do not mix. A thread that a job
starts by itself is not part of it, and neither is what C code or other programs write to the descriptors.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from gigq.worker import context

_FORMAT = logging.Formatter("%(levelname)s %(name)s: %(message)s")


class _Tee:
    """A text stream that lets the running job hear what it writes."""

    def __init__(self, inner: TextIO, *, forgiving: bool) -> None:
        self._inner = inner
        self._forgiving = forgiving
        """Whether a stream that nobody reads any more is no reason for a job to fail."""

    def write(self, text: str) -> int:
        job = context.look()
        # What logging writes was heard as a record.
        if (
            job is not None
            and isinstance(text, str)
            and sys._getframe(1).f_code.co_filename != logging.__file__
        ):
            job.write(text)
        try:
            return self._inner.write(text)
        except (OSError, ValueError):
            if not self._forgiving or job is None:
                raise
            return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._inner.flush()
        except (OSError, ValueError):
            if not self._forgiving:
                raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Records:
    """Makes log records as before, and lets the running job hear them; gigq's own are about the queue, not the job's.

    A handler on the root logger would do too, but with one there the application's basicConfig() does nothing.
    """

    def __init__(self, inner: Callable[..., logging.LogRecord]) -> None:
        self.inner = inner

    def __call__(self, *args: Any, **options: Any) -> logging.LogRecord:
        record = self.inner(*args, **options)
        job = context.look()
        if job is not None and record.name != "gigq" and not record.name.startswith("gigq."):
            with contextlib.suppress(Exception):  # one that cannot be shown is for its handlers to report
                job.log(_FORMAT.format(record))
        return record


class _Installed:
    """What was put in place for how many."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.users = 0
        self.records: _Records | None = None
        self.streams: dict[str, tuple[TextIO, _Tee]] = {}


_installed = _Installed()


@contextlib.contextmanager
def capturing(*, forgiving: bool = False) -> Iterator[None]:
    """Let running jobs hear their own output meanwhile; several may ask for it at once."""
    with _installed.guard:
        _installed.users += 1
        if _installed.users == 1:
            _put_in_place(forgiving=forgiving)
    try:
        yield
    finally:
        with _installed.guard:
            _installed.users -= 1
            if _installed.users == 0:
                _take_away()


def _put_in_place(*, forgiving: bool) -> None:
    for name in ("stdout", "stderr"):
        inner = getattr(sys, name)
        if inner is not None:  # as under pythonw
            tee = _Tee(inner, forgiving=forgiving)
            _installed.streams[name] = (inner, tee)
            setattr(sys, name, tee)
    _installed.records = _Records(logging.getLogRecordFactory())
    logging.setLogRecordFactory(_installed.records)


def _take_away() -> None:
    for name, (inner, tee) in _installed.streams.items():
        if getattr(sys, name) is tee:  # else somebody has put something else there since
            setattr(sys, name, inner)
    _installed.streams.clear()
    records, _installed.records = _installed.records, None
    if records is not None and logging.getLogRecordFactory() is records:
        logging.setLogRecordFactory(records.inner)
