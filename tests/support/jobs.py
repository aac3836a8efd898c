"""Functions that the tests submit: importable by every worker, in this process or another."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NoReturn


def nothing() -> None:
    """The cheapest job there is."""


def add(a: int, b: int) -> int:
    return a + b


def echo(value: Any = None) -> Any:
    return value


def fail(message: str = "it broke") -> NoReturn:
    raise ValueError(message)


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def merge(parent_results: dict[str, Any]) -> list[Any]:
    return list(parent_results.values())


def append(path: str, text: str) -> None:
    """One line in a file, in one write, so that lines of several processes do not mix."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)


def fail_until(path: str, times: int) -> int:
    """Fail the first ``times`` calls, counted in a file; then return how many calls there were."""
    append(path, "call")
    calls = len(Path(path).read_text().splitlines())
    if calls <= times:
        raise RuntimeError(f"call {calls}")
    return calls
