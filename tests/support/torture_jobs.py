"""The jobs of the torture. Each returns the id of its execution, so that it can be seen whose result was stored."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ledger

from gigq import Job
from gigq.status import OnParentFailure


def work(milliseconds: float = 1.0) -> str:
    with ledger.run() as mine:
        time.sleep(milliseconds / 1000)
    return mine.execution_id


def fail_first(milliseconds: float = 1.0) -> str:
    """Fails at its first attempt, and only then."""
    with ledger.run() as mine:
        time.sleep(milliseconds / 1000)
        if mine.attempt - 1 == 0:
            raise ValueError("the first attempt fails")
    return mine.execution_id


def slow_at_first(seconds: float) -> str:
    """Takes its time at its first run, and none after it."""
    with ledger.run() as mine:
        if mine.run == 1:
            time.sleep(seconds)
    return mine.execution_id


def wait_for(path: str) -> str:
    """Runs until a file is there."""
    with ledger.run() as mine:
        while not Path(path).exists():
            time.sleep(0.005)
    return mine.execution_id


def ignore_everything(path: str) -> str:
    """Runs until a file is there, whatever is raised into it."""
    with ledger.run() as mine:
        while True:
            try:
                while not Path(path).exists():
                    time.sleep(0.005)
                break
            except BaseException:
                ledger.write("ignored", mine.id, mine.run, mine.execution_id)
    return mine.execution_id


def die(how: str, after: str | None = None) -> str:
    """Ends its whole process, each time it is run; if asked so, once a file is there."""
    with ledger.run() as mine:
        while after is not None and not Path(after).exists():
            time.sleep(0.005)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "exit":
            os._exit(0)
        elif how == "segfault":
            ctypes.string_at(0)
        time.sleep(60)  # the signal is on its way
    return mine.execution_id


def take_all_descriptors(path: str, limit: int = 100) -> str:
    """Leaves its process none until a file is there; ``<path>.taken`` says that they are gone."""
    with ledger.run() as mine:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
        taken = []
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        Path(path).with_suffix(".taken").symlink_to(path)  # which takes none
        while not Path(path).exists():
            time.sleep(0.005)
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    return mine.execution_id


def work_beside_a_child(path: str, how: str) -> str:
    """Has started a process that outlives it, and runs until a file is there."""
    with ledger.run() as mine:
        child = _fork() if how == "fork" else subprocess.Popen([sys.executable, "-c", _SLEEP]).pid
        ledger.write("child", mine.id, child)
        while not Path(path).exists():
            time.sleep(0.005)
    return mine.execution_id


_SLEEP = "import time; time.sleep(120)"


def _fork() -> int:
    child = os.fork()
    if child == 0:
        try:
            time.sleep(120)
        finally:
            os._exit(0)
    return child


# -- what jobs in child processes do besides ------------------------------------------------------------------


def work_or_die(dies: bool) -> str:
    """Nobody can tell by the function which of its runs will kill its process."""
    with ledger.run() as mine:
        time.sleep(0.001)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
    return mine.execution_id


async def breathe(milliseconds: float = 1.0) -> str:
    with ledger.run() as mine:
        await asyncio.sleep(milliseconds / 1000)
    return mine.execution_id


def talk(milliseconds: float = 1.0) -> str:
    with ledger.run() as mine:
        for step in range(3):
            print("step", step, "of", mine.id)
            mine.progress(step, 3)
            time.sleep(milliseconds / 3000)
    return mine.execution_id


def deaf(path: str) -> str:
    """Holds the interpreter while it runs, so that nobody in its process is heard."""
    with ledger.run() as mine:
        Path(path).touch()
        re.match(r"(a+)+$", "a" * 24 + "b")
    return mine.execution_id


def family_at(path: str, how: str) -> str:
    """Has relatives who sleep, in one way or another; tells their pids, and waits for ever."""
    with ledger.run() as mine:
        code = _RELATIVES[how]
        relative = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert relative.stdout is not None
        ledger.write("relative", mine.id, int(relative.stdout.readline()))
        Path(path).touch()
        time.sleep(600)
    return mine.execution_id


_RELATIVES = {
    "child": "import os, time; print(os.getpid(), flush=True); time.sleep(600)",
    "setsid": "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(600)",
    "daemon": (
        "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n"
        "  print(os.getpid(), flush=True)\n  time.sleep(600)\n os._exit(0)\ntime.sleep(600)"
    ),
}


def resist(how: str) -> str:
    """Does not end by itself, in one way or another."""
    with ledger.run() as mine:
        if how == "spin":
            while True:
                pass
        if how == "hold":
            re.match(r"(a+)+$", "a" * 64 + "b")
        if how == "ignore":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                try:
                    time.sleep(600)
                except BaseException:
                    ledger.write("ignored", mine.id)
        time.sleep(600)
    return mine.execution_id


async def resist_async(how: str) -> str:
    with ledger.run() as mine:
        if how == "block":
            time.sleep(600)
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                ledger.write("ignored", mine.id)
                if how != "swallow":
                    raise


def devour(megabytes: int, limit: int | None = None) -> str:
    """Takes memory until it is stopped; with a limit, the kernel refuses and the interpreter cannot go on."""
    with ledger.run() as mine:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            try:
                taken = bytearray(limit)
            except MemoryError:
                os.abort()
        taken = bytearray(megabytes * 1_000_000)
        taken[::4096] = b"x" * len(taken[::4096])
        time.sleep(600)
    return mine.execution_id


async def wait_until_told(path: str) -> str:
    """Ends when the worker tells that it is about to stop, or a file is there."""
    with ledger.run() as mine:
        while not (mine.cancelled or Path(path).exists()):
            await asyncio.sleep(0.01)
        ledger.write("told", mine.id)
        while not Path(path).exists():
            await asyncio.sleep(0.01)
    return mine.execution_id


def wait_until_told_too(path: str) -> str:
    with ledger.run() as mine:
        while not (mine.cancelled or Path(path).exists()):
            time.sleep(0.01)
        ledger.write("told", mine.id)
        while not Path(path).exists():
            time.sleep(0.01)
    return mine.execution_id


def grow(adds: list[dict[str, Any]], fails: bool, milliseconds: float = 2.0) -> str:
    """Adds a job for each, half of them before its work and half behind; perhaps it fails then."""
    with ledger.run() as mine:
        for spec in adds[::2]:
            mine.add(growing(**spec))
        time.sleep(milliseconds / 1000)
        for spec in adds[1::2]:
            mine.add(growing(**spec))
        if fails:
            raise ValueError("it fails, and adds nothing")
    return mine.execution_id


def growing(name: str, policy: OnParentFailure, adds: list[dict[str, Any]], fails: bool) -> Job:
    """A job of :func:`grow`."""
    params = {"adds": adds, "fails": fails}
    return Job(name, grow, params, max_attempts=2, max_crashes=1000, on_parent_failure=policy)
