"""Functions that say where they run, how they are stopped, and what they leave behind."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import jobs

import gigq

MEANWHILE: contextvars.ContextVar[Any] = contextvars.ContextVar("meanwhile")


def pid() -> int:
    return os.getpid()


def surroundings() -> dict[str, Any]:
    return {
        "cwd": str(Path.cwd()),
        "MINE": os.environ.get("MINE"),
        "PYTHONPATH": os.environ.get("PYTHONPATH"),
        "path": sys.path,
        "stdin": sys.stdin.read(),
    }


# -- ends ------------------------------------------------------------------------------------------------------


def exit_silently() -> NoReturn:
    os._exit(0)


def exit_politely() -> NoReturn:
    sys.exit(7)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def segfault() -> None:
    ctypes.string_at(0)


def spin() -> NoReturn:
    while True:
        pass


def sleep_long() -> None:
    time.sleep(600)


def swallow_every_exception() -> None:
    while True:
        try:
            time.sleep(600)
        except BaseException:
            continue


def hang_until(path: str) -> None:
    """Swallow whatever asks it to stop, until a file is there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            jobs.append(f"{path}.hangs", "here")
            jobs.wait_for(path, 120)
        except BaseException:
            continue
        return


def ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    swallow_every_exception()


def hold_the_interpreter() -> None:
    """A regular expression that takes for ever, and does not let go of the interpreter lock."""
    re.match(r"(a+)+$", "a" * 64 + "b")


def return_when_asked() -> str:
    job = gigq.current_job()
    print("looking", job.cancelled)
    while not job.cancelled:
        try:
            time.sleep(0.01)
        except BaseException:
            continue
    return "stopped in good order"


def with_a_hidden_family(path: str) -> None:
    """A child, and a grandchild that has left the process group and lost its parent."""
    hidden = "import os, sys, time\nif os.fork() == 0:\n    os.setsid()\n    print(os.getpid(), flush=True)\n    time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    found = subprocess.Popen([sys.executable, "-c", hidden], stdout=subprocess.PIPE)
    assert found.stdout is not None
    jobs.append(path, f"{child.pid} {int(found.stdout.readline())}")
    swallow_every_exception()


# -- coroutines ------------------------------------------------------------------------------------------------


async def breathe() -> None:
    await asyncio.sleep(0)


async def sleep_in_a_coroutine() -> None:
    await asyncio.sleep(600)


async def block_in_a_coroutine() -> None:
    time.sleep(600)


async def exit_in_a_coroutine() -> NoReturn:
    await asyncio.sleep(0)
    sys.exit(3)


async def meet(path: str, number: int) -> str:
    """Return once so many are here at the same time."""
    jobs.append(path, "here")
    while len(Path(path).read_text().splitlines()) < number:
        await asyncio.sleep(0.01)
    return "met"


_HERE = 0


async def count_together() -> int:
    """How many were here at the same time, at most, while this one was."""
    global _HERE
    _HERE += 1
    most = _HERE
    for _ in range(5):
        await asyncio.sleep(0.002)
        most = max(most, _HERE)
    _HERE -= 1
    return most


async def set_and_read(value: int) -> list[Any]:
    MEANWHILE.set(value)
    await asyncio.sleep(0.01)
    return [MEANWHILE.get(), gigq.current_job().id]


async def leave_a_task() -> None:
    task = asyncio.create_task(asyncio.sleep(600), name="the one left behind")
    await asyncio.sleep(0)
    assert not task.done()


# -- needs and words -------------------------------------------------------------------------------------------


def read_parents() -> list[Any]:
    return [[parent.id, parent.result] for parent in gigq.current_job().parents]


def talk(path: str) -> None:
    print("printed")
    print("to stderr", file=sys.stderr)
    logging.getLogger("somebody").warning("logged")
    job = gigq.current_job()
    job.progress(1, 2, "half")
    job.log("half way")
    jobs.wait_for(path)
    job.progress(2, 2)
    print("the end")


def flood(lines: int) -> None:
    for n in range(lines):
        print("x" * 40, "line", n)


def take_memory(megabytes: int) -> None:
    taken = bytearray(megabytes * 1_000_000)
    taken[::4096] = b"x" * len(taken[::4096])
    time.sleep(600)
