"""Python in processes of their own, workers in threads, and waiting for what they do."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jobs

from gigq import Job, Worker

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds to wait for what happens at once on a machine that is not stuck."""


def wait_until(condition: Callable[[], T], what: str) -> T:
    """The first true value of a condition."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.005)
    return value


def start(code: str, *words: str, cwd: Path) -> subprocess.Popen[str]:
    """Start a program given as text."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *words],
        cwd=cwd,
        env=jobs.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*words: str, cwd: Path, stdin: str | None = None) -> str:
    """What ``python ...`` prints; it must end well."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=jobs.environment(),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_code(code: str, *words: str, cwd: Path) -> str:
    return run("-c", textwrap.dedent(code), *words, cwd=cwd)


def waiting(go: Path, **options: Any) -> Job:
    """A job that ends once a file is there."""
    return Job("waiting", jobs.wait_visibly, {"path": str(go)}, **options)


def begun(go: Path) -> bool:
    """Whether the function has: a job that is only claimed goes back when its worker stops."""
    return go.with_name(f"{go.name}.waits").exists()


def in_a_thread(worker: Worker) -> threading.Thread:
    thread = threading.Thread(target=worker.start, daemon=True)
    thread.start()
    wait_until(lambda: worker.running, "the worker runs")
    return thread


@contextlib.contextmanager
def at_work(worker: Worker) -> Iterator[None]:
    """While it works in a thread; then it is stopped."""
    thread = in_a_thread(worker)
    try:
        yield
    finally:
        worker.stop()
        thread.join()
