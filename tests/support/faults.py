"""Functions that do something to the process they run in: to its descriptors, signals, modules, and children."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import jobs

# -- that wait -------------------------------------------------------------------------------------------------


async def sit(path: str) -> str:
    """A coroutine that waits for a file; ``<path>.here`` tells that it has begun."""
    jobs.append(f"{path}.here", "here")
    while not Path(path).exists():
        await asyncio.sleep(0.01)
    return "sat"


async def sit_for_ever() -> None:
    await asyncio.sleep(600)


async def swallow_cancels() -> None:
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            continue


def wait(path: str) -> str:
    while not Path(path).exists():
        time.sleep(0.01)
    return "waited"


def leave_a_sleeper(path: str) -> None:
    """Stops when it is asked to; what it has started does not hear of that."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    jobs.append(path, str(sleeper.pid))
    time.sleep(600)


async def leave_a_sleeper_async(path: str) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    jobs.append(path, str(sleeper.pid))
    await asyncio.sleep(600)


def note_and_sleep(path: str, number: int, seconds: float) -> int:
    """Leaves a line at its start, and one at its end."""
    jobs.append(path, f"run {number}")
    time.sleep(seconds)
    jobs.append(path, f"done {number}")
    return number


async def note_and_sleep_async(path: str, number: int, seconds: float) -> int:
    jobs.append(path, f"run {number}")
    await asyncio.sleep(seconds)
    jobs.append(path, f"done {number}")
    return number


# -- descriptors -----------------------------------------------------------------------------------------------


def close_everything(path: str) -> str:
    jobs.append(path, "run")
    os.closerange(3, 4096)
    return "all closed"


def close_everything_and_open_another(path: str) -> str:
    """What is opened now gets the numbers of what was closed."""
    jobs.append(path, "run")
    os.closerange(3, 4096)
    for _ in range(64):
        os.open(f"{path}.other", os.O_RDWR | os.O_CREAT)
    return "all closed"


def write_garbage(path: str) -> str:
    """To the standard descriptors, which are somebody else's too."""
    jobs.append(path, "run")
    for fd in (0, 1, 2):
        try:
            os.write(fd, b"\x00\xff garbage \xfe\n")
        except OSError:
            continue
    return "written"


def write_garbage_everywhere(path: str) -> str:
    """To the worker's pipe too, whichever that is."""
    return _write_everywhere(path, b"\xff\xff\xff\x00garbage")


def write_a_false_frame(path: str) -> str:
    """A short one, so that it is whole."""
    return _write_everywhere(path, b"\x03\x00\x00\x00abc")


def _write_everywhere(path: str, data: bytes) -> str:
    jobs.append(path, "run")
    for fd in range(3, 2048):
        try:
            os.set_blocking(fd, False)
            os.write(fd, data)
        except OSError:
            continue
    return "written"


# -- processes -------------------------------------------------------------------------------------------------


def return_twice(path: str) -> str:
    """Goes on in two processes, and returns in both."""
    jobs.append(path, "run")
    if os.fork() == 0:
        return "the copy"
    time.sleep(0.3)
    return "the original"


def raise_in_the_copy(path: str) -> str:
    jobs.append(path, "run")
    if os.fork() == 0:
        raise SystemExit("the copy")
    time.sleep(0.3)
    return "the original"


async def return_twice_async(path: str) -> str:
    jobs.append(path, "run")
    if os.fork() == 0:
        return "the copy"
    await asyncio.sleep(0.3)
    return "the original"


def print_in_the_copy(path: str) -> str:
    """As a daemon does: the copy closes what it has inherited, opens files of its own, and prints."""
    jobs.append(path, "run")
    copy = os.fork()
    if copy == 0:
        os.closerange(3, 256)
        for number in range(64):
            os.open(f"{path}.{number}", os.O_RDWR | os.O_CREAT)
        print("from the copy")
        os._exit(0)
    os.waitpid(copy, 0)
    return "".join(place.read_text() for place in Path(path).parent.glob(f"{Path(path).name}.*"))


def double(value: int) -> int:
    return value * 2


def use_multiprocessing(path: str, method: str) -> list[int]:
    jobs.append(path, "run")
    context: Any = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        found: list[int] = pool.map(double, range(5))
    return found


def leave_a_thread(path: str) -> str:
    """Which is no daemon, so that its process does not end by itself."""
    jobs.append(path, str(os.getpid()))
    threading.Thread(target=time.sleep, args=[600]).start()
    return "left"


# -- what is common to the jobs of a process -----------------------------------------------------------------


def change_directory(path: str) -> str:
    jobs.append(path, "run")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
    return "there is no such folder any more"


class _Stubborn:
    def write(self, text: str) -> int:
        raise RuntimeError("no words")

    flush = write


def replace_stdout(path: str) -> str:
    jobs.append(path, "run")
    sys.stdout = None
    sys.stderr = _Stubborn()
    return "replaced"


def close_stdout(path: str) -> str:
    jobs.append(path, "run")
    sys.stdout.close()
    sys.stderr.close()
    print("nobody hears")
    return "closed"


def take_the_signals(path: str) -> str:
    jobs.append(path, "run")
    for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    return "taken"


def forget_modules(path: str) -> str:
    jobs.append(path, "run")
    for name in list(sys.modules):
        if name.split(".")[0] in ("gigq", "msgspec", "asyncio", "threading", "traceback", "select", "json"):
            del sys.modules[name]
    return "forgotten"
