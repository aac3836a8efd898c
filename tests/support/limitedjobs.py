"""Functions of jobs with limits: they write down when they run, so that the test can see how many did at once."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NoReturn

import gigq


def anything(**params: Any) -> None: ...


def mark(path: str, key: str, seconds: float = 0.0) -> None:
    """Write down start and end, each as one line: what, key, pid, monotonic nanoseconds."""
    _write(path, "start", key)
    time.sleep(seconds)
    _write(path, "end", key)


def limited_once(path: str, key: str | None = None) -> str:
    """The first run is told to come back later, by whomever it asked."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "done"
    raise gigq.RateLimited(0.3, key, "429")


def refused(headers: dict[str, str]) -> NoReturn:
    error = OSError("429 Too Many Requests")
    error.headers = headers  # type: ignore[attr-defined]
    raise gigq.RateLimited.from_response(error) from error


def _write(path: str, what: str, key: str) -> None:
    line = f"{what} {key} {os.getpid()} {time.monotonic_ns()}\n".encode()
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


def most_at_once(path: str) -> dict[str, int]:
    """Key -> how many ran at once at most; those whose process died in its midst end nowhere."""
    running: dict[str, int] = {}
    most: dict[str, int] = {}
    with Path(path).open() as file:
        events = sorted((line.split() for line in file), key=lambda words: int(words[3]))
    for what, key, *_ in events:
        running[key] = running.get(key, 0) + (1 if what == "start" else -1)
        most[key] = max(most.get(key, 0), running[key])
    return most


def starts(path: str) -> list[int]:
    """When jobs started, monotonic nanoseconds, in order."""
    with Path(path).open() as file:
        return sorted(int(line.split()[3]) for line in file if line.startswith("start"))
