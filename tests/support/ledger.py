"""What the runs of a torture say themselves, outside the database.

One line an event, ``what job run execution pid time worker``, appended in one write of less than 512 bytes, so that lines
of several processes do not mix and a killed process leaves whole ones. Times are CLOCK_MONOTONIC nanoseconds, which
is one clock for all processes of a boot.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from gigq import current_job
from gigq.worker.context import CurrentJob

VARIABLE = "GIGQ_LEDGER"
"""Names the file, for the process and for those it starts."""
WORKER = "GIGQ_LEDGER_WORKER"
"""The pid of the worker, for its children."""
_LONGEST = 512


class Line(NamedTuple):
    """One event."""

    what: str
    """``start``, ``end``, ``fail`` or ``stopped`` of a run; ``submit`` and ``acked``; or what a script has to say."""
    job: str
    run: int
    execution: str
    pid: int
    at: int
    worker: int = 0
    """The process whose child ``pid`` is, or ``pid`` itself."""


class Kill(NamedTuple):
    """A process that was ended, or frozen, from outside."""

    pid: int
    before: int
    """Just before the signal was sent."""
    after: int
    """When the process was seen to be gone."""
    how: str


@functools.cache
def _fd(path: str, _pid: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def write(what: str, job: str = "-", run: int = 0, execution: str = "-") -> None:
    """Append one event; nothing without a ledger."""
    path = os.environ.get(VARIABLE)
    if path is None:
        return
    pid = os.getpid()
    worker = os.environ.get(WORKER, pid)
    line = f"{what} {job} {run} {execution} {pid} {time.monotonic_ns()} {worker}\n".encode()
    assert len(line) < _LONGEST, line
    os.write(_fd(path, os.getpid()), line)


@contextlib.contextmanager
def run() -> Iterator[CurrentJob]:
    """Around the body of a job: notes its start, and its end if it lives to see it."""
    mine = current_job()
    write("start", mine.id, mine.run, mine.execution_id)
    try:
        yield mine
    except Exception:
        write("fail", mine.id, mine.run, mine.execution_id)
        raise
    except BaseException:
        write("stopped", mine.id, mine.run, mine.execution_id)
        raise
    write("end", mine.id, mine.run, mine.execution_id)


def parse(text: str) -> list[Line]:
    """Whole lines of the file."""
    lines = []
    for line in text.splitlines():
        what, job, number, execution, pid, at, worker = line.split()
        lines.append(Line(what, job, int(number), execution, int(pid), int(at), int(worker)))
    return lines
