"""The rig: starts workers and submitters as processes, ends them at random, and asks the oracle."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ledger
import oracle
from ledger import Kill, Line

from gigq import Job, JobQueue, close_connections
from gigq.worker import family

SUPPORT = Path(__file__).parent
PATIENCE = 60.0
"""Seconds to wait for what happens at once on a machine that is not stuck."""
QUICK: dict[str, Any] = {"rescue_grace": 0.05, "upkeep_every": 0.05}
"""Peers that wait 50 ms beyond a timeout, in place of ten seconds."""
TERMINAL = frozenset({"completed", "failed", "timeout", "cancelled"})


def wait_until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """The first true value of a condition; AssertionError if it does not come."""
    until = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < until, f"waited {patience:g} s in vain for: {what}"
        time.sleep(0.01)
    return value


def seed() -> int:
    """That of GIGQ_SEED, to repeat a failure; else a new one."""
    return int(os.environ.get("GIGQ_SEED") or secrets.randbelow(10**9))


class Process:
    """A worker or a submitter."""

    def __init__(self, role: str, options: dict[str, Any], child: subprocess.Popen[bytes], output: Path):
        self.role = role
        self.options = options
        self.pid = child.pid
        self.output = output
        self._child = child

    @property
    def is_alive(self) -> bool:
        return self._child.poll() is None

    def signal(self, number: int) -> None:
        self._child.send_signal(number)

    def wait(self, patience: float = PATIENCE) -> int:
        """Its exit code; minus the signal that ended it."""
        try:
            return self._child.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.role} {self.pid} did not end in {patience:g} s: {self.said()}"
            ) from None

    def said(self) -> str:
        """What it wrote to stdout and stderr, its last part."""
        return self.output.read_text(errors="replace")[-4000:]


class Rig:
    """One torture: a database, a ledger, a log of kills, a seed, processes."""

    def __init__(self, folder: Path, number: int | None = None, home: Path | None = None) -> None:
        self.seed = seed() if number is None else number
        self.dice = random.Random(self.seed)
        self.folder = folder
        self.home = home or folder / "queue"
        self.home.mkdir(exist_ok=home is not None)
        self.db = str(self.home / "jobs.db")
        self.ledger = folder / "ledger"
        self.kills: list[Kill] = []
        self.processes: list[Process] = []
        self.queue = JobQueue(self.db)
        self._lines: list[Line] = []
        self._read = 0

    # -- processes ---------------------------------------------------------------------------------------------

    def worker(self, **options: Any) -> Process:
        """Start a worker; see torture_worker.Options. ``under`` is a command to start it with."""
        # Ten turns of the housekeeping in a second: what waits for one need not take long.
        return self._start("worker", {"upkeep_every": 0.1, **options})

    def submitter(self, **options: Any) -> Process:
        """Start a submitter; see torture_submitter.Options."""
        return self._start("submitter", {"seed": self.dice.randrange(10**9), **options})

    def _start(self, role: str, options: dict[str, Any]) -> Process:
        under: list[str] = options.pop("under", [])
        output = self.folder / f"output-{len(self.processes)}"
        environment = {**os.environ, ledger.VARIABLE: str(self.ledger), "PYTHONPATH": str(SUPPORT)}
        with output.open("wb") as stream:
            child = subprocess.Popen(
                [
                    *under,
                    sys.executable,
                    str(SUPPORT / f"torture_{role}.py"),
                    json.dumps({"db": self.db, **options}),
                ],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        process = Process(role, options, child, output)
        self.processes.append(process)
        return process

    def again(self, dead: Process) -> Process:
        """Start another one like it; a submitter goes on with what was not acknowledged."""
        options = dict(dead.options)
        if dead.role == "submitter":
            acked = sum(line.what == "acked" and line.pid == dead.pid for line in self.lines())
            options |= {"jobs": options["jobs"] - acked, "seed": self.dice.randrange(10**9)}
            if options["jobs"] <= 0:
                return dead
        return self._start(dead.role, options)

    def kill(self, process: Process) -> Kill:
        """kill -9, on record."""
        before = time.monotonic_ns()
        process.signal(signal.SIGKILL)
        process.wait()
        return self.record(process, before, "SIGKILL")

    def children(self, worker: Process) -> list[int]:
        """The child processes that run a worker's jobs."""
        stats = {pid: family._stat(pid) for pid in family.descendants(worker.pid)}
        return sorted(pid for pid, stat in stats.items() if stat is not None and stat[0] == worker.pid)

    def kill_child(self, worker: Process) -> bool:
        """kill -9 of one child of a worker, on record; False if there is none."""
        children = self.children(worker)
        if not children:
            return False
        pid = self.dice.choice(children)
        before = time.monotonic_ns()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: family._stat(pid) is None, "a child to be gone")
        self.kills.append(Kill(pid, before, time.monotonic_ns(), f"SIGKILL of a child of {worker.pid}"))
        return True

    def leftovers(self) -> list[int]:
        """Processes beside those of the rig itself that know of its ledger: children, and what jobs have started."""
        word = f"{ledger.VARIABLE}={self.ledger}".encode()
        ours = {process.pid for process in self.processes} | {os.getpid()}
        found = []
        for place in Path("/proc").iterdir():
            if place.name.isdecimal() and int(place.name) not in ours:
                with contextlib.suppress(OSError):
                    if word in (place / "environ").read_bytes().split(b"\0"):
                        found.append(int(place.name))
        return [pid for pid in found if family._stat(pid) is not None]

    def await_nobody_left(self) -> None:
        self._wait(lambda: not self.leftovers(), "no process to be left behind")

    def record(self, process: Process, before: int, how: str) -> Kill:
        """Note that a process has ended, or was frozen, for a reason outside its jobs."""
        kill = Kill(process.pid, before, time.monotonic_ns(), how)
        self.kills.append(kill)
        return kill

    def stop(self, *processes: Process) -> None:
        """SIGTERM, and the good end of each."""
        for process in processes:
            self.await_up(process)
            process.signal(signal.SIGTERM)
        for process in processes:
            code = process.wait()
            assert code == 0, self.told(f"{process.role} {process.pid} ended with {code}: {process.said()}")

    def close(self) -> None:
        """End whatever still runs."""
        for process in self.processes:
            if process.is_alive:
                process.signal(signal.SIGKILL)
                process.wait()
        for pid in self.leftovers():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.queue.close()
        self.queue._store.engine.close()
        close_connections()

    # -- what happened -----------------------------------------------------------------------------------------

    def lines(self, what: str | None = None) -> list[Line]:
        """The ledger so far; read on from where the last call ended."""
        if self.ledger.exists():
            with self.ledger.open("rb") as stream:
                stream.seek(self._read)
                text = stream.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read += len(whole)
            self._lines += ledger.parse(whole.decode())
        return self._lines if what is None else [line for line in self._lines if line.what == what]

    def await_up(self, worker: Process) -> None:
        """Until a worker is at work, with its signal handlers set."""
        self._wait(
            lambda: any(line.pid == worker.pid for line in self.lines("upkeep")) or not worker.is_alive,
            "a worker to be up",
        )

    def starts(self, job: str) -> list[Line]:
        return [line for line in self.lines("start") if line.job == job]

    def await_line(
        self, what: str, job: str | None = None, number: int = 1, patience: float = PATIENCE
    ) -> Line:
        """The ``number``-th such line of the ledger."""

        def found() -> Line | None:
            lines = [line for line in self.lines(what) if job is None or line.job == job]
            return lines[number - 1] if len(lines) >= number else None

        line: Line = self._wait(found, f"{what} of {job} number {number}", patience)
        return line

    def status(self, job: str) -> dict[str, Any]:
        return self.queue.get_status(job)

    def await_status(self, job: str, *statuses: str) -> dict[str, Any]:
        """The job, once it has one of these statuses (by default an end)."""
        wanted = statuses or TERMINAL
        self._wait(lambda: self.status(job)["status"] in wanted, f"{job} to be {sorted(wanted)}")
        return self.status(job)

    def await_superseded(self, job: str) -> None:
        """Until the late end of the first run of a job was refused."""
        self._wait(
            lambda: self.status(job)["executions"][0]["status"] == "superseded",
            self.told(f"the late end of {job} to be refused"),
        )

    def await_all_ended(self, patience: float = PATIENCE) -> None:
        """Until no job is pending or running."""

        def ended() -> bool:
            stats = self.queue.stats()
            return stats["pending"] + stats["running"] == 0

        self._wait(ended, f"every job to end; {self.queue.stats()}", patience)

    def submit(self, function: Any, **options: Any) -> str:
        """Submit one job, on record."""
        name = options.pop("name", getattr(function, "__name__", "job"))
        job = Job(name=name, function=function, **options)
        with self._on_record():
            ledger.write("submit", job.id)
            self.queue.submit(job)
            ledger.write("acked", job.id)
        return job.id

    @contextlib.contextmanager
    def _on_record(self) -> Iterator[None]:
        before = os.environ.get(ledger.VARIABLE)
        os.environ[ledger.VARIABLE] = str(self.ledger)
        try:
            yield
        finally:
            if before is None:
                del os.environ[ledger.VARIABLE]
            else:
                os.environ[ledger.VARIABLE] = before

    def _wait(self, condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
        """As wait_until; what is missed is told with the seed and with what became of the processes."""
        try:
            return wait_until(condition, what, patience)
        except AssertionError as error:
            raise AssertionError(self.told(f"{error}\n{self._processes()}")) from None

    def _processes(self) -> str:
        return "\n".join(
            f"{p.role} {p.pid} {'runs' if p.is_alive else f'ended with {p.wait()}'}: {p.said()}"
            for p in self.processes
        )

    # -- the verdict -------------------------------------------------------------------------------------------

    def evidence(self) -> oracle.Evidence:
        return oracle.gather(self.db, self.lines(), self.kills)

    def violations(self) -> list[str]:
        """What the oracle has to say, and what was left behind."""
        names = {f"jobs.db{suffix}" for suffix in ("", "-wal", "-shm", "-lock")}
        alive = [f"I10 {p.role} {p.pid} still runs" for p in self.processes if p.is_alive]
        return oracle.judge(self.evidence()) + oracle.strangers(self.home, names) + alive

    def judge(self) -> None:
        """AssertionError with the seed and every violation."""
        violations = self.violations()
        assert not violations, self.told("\n".join(violations[:20]))

    def told(self, what: str) -> str:
        """A message with what is needed to repeat it."""
        return f"{what}\nseed: GIGQ_SEED={self.seed}"


@contextlib.contextmanager
def foreign_lock(rig: Rig) -> Iterator[None]:
    """Somebody who has never heard of the gate holds the write lock."""
    connection = sqlite3.connect(rig.db, timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


class ClockFile:
    """The clocks of those workers that read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._wall = self._monotonic = 0
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """Put the wall clock so far from the real one; the monotonic one goes on as it was."""
        new = self.path.with_suffix(".new")
        new.write_bytes(struct.pack("<qq", seconds, self._monotonic))
        new.replace(self.path)
        self._wall = seconds

    def turn(self, seconds: int) -> None:
        """Let time pass, by both clocks."""
        self._monotonic += seconds
        self.jump(self._wall + seconds)
