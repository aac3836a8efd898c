"""The real command, in a process of its own: with pipes, or in a terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

LIMIT = 60.0
"""Seconds: generous, only reached when something is broken."""

_GIGQ = [sys.executable, "-m", "gigq"]
_SUPPORT = str(Path(__file__).parent)


class Answer(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


Gigq = Callable[..., Answer]
"""The fixture ``gigq``: the command in this process."""
MakeJob = Callable[..., str]
"""The fixture ``make_job``: a job of jobs.py, by the name of its function."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The one that commands of a test get."""
    unwanted = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}
    kept = {k: v for k, v in os.environ.items() if k not in unwanted and not k.startswith("GIGQ_")}
    return {**kept, "PYTHONPATH": _SUPPORT, "TERM": "xterm-256color", **(extra or {})}


def gigq(
    *words: str,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    program: list[str] | None = None,
) -> Answer:
    """Run ``gigq`` to its end, with pipes."""
    done = subprocess.run(
        [*(program or _GIGQ), *words],
        cwd=cwd,
        env=environment(env),
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def started(
    *words: str, cwd: str | Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """``gigq`` under way, with pipes; ended by the end of the block at the latest."""
    process = subprocess.Popen(
        [*_GIGQ, *words],
        cwd=cwd,
        env=environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@contextmanager
def worker(*words: str, cwd: str | Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """``gigq worker`` that has said that it starts."""
    with started("worker", *words, cwd=cwd) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("Starting worker "):
            raise AssertionError(f"the worker said {line!r} and {process.communicate()[1]}")
        yield process


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> Answer:
    """Signal a process and wait for its end."""
    process.send_signal(number)
    out, err = process.communicate(timeout=LIMIT)
    return Answer(process.returncode, out, err)


def in_terminal(columns: int, *words: str, env: Mapping[str, str] | None = None) -> Answer:
    """Run ``gigq`` to its end in a pseudo-terminal; both its streams are ``out``."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(
            [*_GIGQ, *words], env=environment(env), stdin=theirs, stdout=theirs, stderr=theirs
        )
    finally:
        os.close(theirs)
    said = b""
    try:
        while piece := _read(ours):
            said += piece
    finally:
        os.close(ours)
    return Answer(process.wait(LIMIT), said.decode().replace("\r\n", "\n"), "")


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # how Linux tells that nobody has the other side open any more
        return b""


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"still not: {what}")
        time.sleep(0.02)
