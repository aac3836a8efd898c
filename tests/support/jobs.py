"""Functions that the tests submit: importable by every worker, in this process or another."""

from __future__ import annotations

import builtins
import os
import time
from pathlib import Path
from typing import Any, NoReturn

import gigq


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


def wait_for(path: str, seconds: float = 60.0) -> None:
    """Return once a file is there."""
    deadline = time.monotonic() + seconds
    while not Path(path).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.01)


def merge(parent_results: dict[str, Any]) -> list[Any]:
    return list(parent_results.values())


def append(path: str, text: str) -> None:
    """One line in a file, in one write, so that lines of several processes do not mix."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)


def append_and_return(path: str, text: str, value: Any, after: str | None = None) -> Any:
    """Leave a line, and return the value; if asked so, once a file is there."""
    append(path, text)
    if after is not None:
        wait_for(after)
    return value


def fail_until(path: str, times: int) -> int:
    """Fail the first ``times`` calls, counted in a file; then return how many calls there were."""
    append(path, "call")
    calls = len(Path(path).read_text().splitlines())
    if calls <= times:
        raise RuntimeError(f"call {calls}")
    return calls


def status_of_mine(path: str) -> dict[str, Any]:
    """What ``get_status`` says of a job while it runs."""
    return gigq.JobQueue(path).get_status(gigq.current_job().id)


def fail_once_with_parents(parent_results: dict[str, str]) -> int:
    """Count the calls in the file that the parent names."""
    (path,) = parent_results.values()
    return fail_until(path, times=1)


STOPPED_BY_JOBS: list[gigq.Worker] = []
"""Workers of this process that :func:`stop_the_worker` stops."""


def stop_the_worker() -> None:
    while STOPPED_BY_JOBS:
        STOPPED_BY_JOBS.pop().stop()


def die_once(path: str) -> str:
    """End the process without a word the first time; a file remembers."""
    if not Path(path).exists():
        append(path, "died")
        os._exit(7)
    return "survived"


def environment() -> dict[str, str]:
    """For a process that is to find this module."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}


def raise_by_name(name: str) -> NoReturn:
    """Raise a built-in exception."""
    error: type[BaseException] = getattr(builtins, name)
    raise error


def wait_visibly(path: str) -> None:
    """As wait_for, and the file ``<path>.waits`` says that it has begun."""
    append(f"{path}.waits", "begun")
    wait_for(path)


def unstorable() -> object:
    """What it returns is no JSON."""
    return object()


def append_my_id(path: str) -> None:
    append(path, gigq.current_job().id)


def repeat(text: str, times: int) -> str:
    return text * times


def die() -> NoReturn:
    """End the process without a word."""
    os._exit(7)


def submit_until_stopped(db: str) -> NoReturn:
    from gigq import Job, JobQueue

    queue = JobQueue(db)
    while True:
        queue.submit(Job("waits for ever", "no_such_module.run"))


async def cancelled_late(path: str) -> None:
    """Sleep for long, and tell when it is cancelled."""
    import asyncio

    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        append(path, "cancelled")
        raise


def my_tick() -> str | None:
    """The time that its schedule made this job for."""
    tick = gigq.current_job().tick
    return None if tick is None else tick.isoformat()
