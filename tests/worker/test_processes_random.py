"""Random schedules against the executor with real children: every call comes back exactly once, none runs twice."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faults
import pytest
from crews import Crew

from gigq.worker.calls import Call
from gigq.worker.executors import process

pytestmark = pytest.mark.skipif(os.name != "posix", reason="child processes need a POSIX system")


class Schedule:
    """One history of an executor, drawn from a seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        folder.mkdir()
        self.log = folder / "runs"
        self.log.touch()
        options = {
            "async_slots": self.dice.randint(1, 4),
            "max_jobs": self.dice.choice([None, None, 7, 40]),
        }
        self.crew = Crew(folder, self.dice.randint(1, 3), **options)
        self.dispatched: list[Call] = []
        self.back: list[Call] = []
        """Those that give_back() has returned."""
        self.killed = 0

    def dispatch(self) -> None:
        calls = [self._draw() for _ in range(self.dice.randint(1, 40))]
        self.dispatched += calls
        self.crew.dispatch(*calls)

    def _draw(self) -> Call:
        kind = self.dice.random()
        path = str(self.log)
        function: Any = faults.note_and_sleep_async if kind < 0.3 else faults.note_and_sleep
        seconds = self.dice.uniform(0, 0.01) if self.dice.random() < 0.97 else 0.25
        params = {"path": path, "number": self.crew.number + 1, "seconds": seconds}
        crashes = 1 if self.dice.random() < 0.05 else 0
        return self.crew.call(function, json.dumps(params), crashes=crashes)

    def recall(self) -> None:
        self.back += self.crew.executor.give_back()

    def stop_some(self) -> None:
        open_calls = [c for c in self.dispatched if c not in self.crew.ended and c not in self.back]
        for call in self.dice.sample(open_calls, min(3, len(open_calls))):
            self.crew.executor.stop(call, "cancelled")

    def kill(self) -> None:
        pid = self.dice.choice(self.crew.executor.pids)
        self.killed += 1
        os.kill(pid, signal.SIGKILL)

    def collect(self) -> None:
        time.sleep(self.dice.uniform(0, 0.02))
        self.crew.look()

    def run(self, steps: int) -> Counter[str]:
        moves: list[Callable[[], None]] = [self.dispatch, self.collect, self.recall, self.stop_some]
        self.crew.until(self._all_ready, "the children are ready")
        for _ in range(steps):
            self.dice.choices(moves, [5, 8, 2, 1])[0]()
            # A child that has had no time to start is no news; three of them end the worker.
            if self.dice.random() < 0.1 and self._all_ready():
                self.kill()
        self.crew.until(
            lambda: len(self.crew.ended) + len(self.back) >= len(self.dispatched), "every call is back"
        )
        for _ in range(3):
            self.crew.look()
        self.check()
        return Counter(call.end for call in self.crew.ended)

    def _all_ready(self) -> bool:
        return all(child.is_ready for child in self.crew.executor._children)

    def check(self) -> None:
        back = Counter(call.lease.seq for call in [*self.crew.ended, *self.back])
        told = f"seed {self.seed}"
        assert back == Counter(call.lease.seq for call in self.dispatched), told
        words = [line.split() for line in self.log.read_text().splitlines()]
        runs = Counter(int(number) for what, number in words if what == "run")
        done = {int(number) for what, number in words if what == "done"}
        assert max(runs.values(), default=0) <= 1, told
        died = stopped = 0
        for call in self.crew.ended:
            number = call.lease.seq
            if call.end == "unstarted":
                assert number not in runs, f"{told}: {number} was given back and has run"
            elif call.end == "returned":
                assert number in done, f"{told}: {number} returned and was never done"
                assert call.result == json.dumps(number), told
            elif call.end in ("died", "stopped"):
                assert call.asked is None, told
                died, stopped = died + (call.end == "died"), stopped + (call.end == "stopped")
        for call in self.back:
            assert call.lease.seq not in runs, f"{told}: {call.lease.seq} was taken back and has run"
        # Of plain functions a death costs one run; coroutines run side by side.
        plain = [c for c in self.crew.ended if c.end == "died" and not c.is_async]
        assert len(plain) <= self.killed, told


def schedules(folder: Path, number: int, steps: int) -> None:
    given = os.environ.get("GIGQ_SEED")
    for n in range(number):
        seed = int(given) + n if given else secrets.randbelow(10**9)
        schedule = Schedule(folder / str(n), seed)
        try:
            ends = schedule.run(steps)
        except BaseException:
            print(f"seed: GIGQ_SEED={seed}")
            raise
        finally:
            schedule.crew.close()
        print(f"GIGQ_SEED={seed}: {len(schedule.dispatched)} calls, {schedule.killed} kills, {dict(ends)}")


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "ASK", 0.3)


def test_every_call_comes_back_once_and_none_runs_twice(tmp_path: Path) -> None:
    schedules(tmp_path, 2, 60)


@pytest.mark.torture
def test_many_schedules(tmp_path: Path) -> None:
    schedules(tmp_path, 30, 150)


def test_an_executor_that_ends_gives_back_everything(tmp_path: Path) -> None:
    schedule = Schedule(tmp_path / "one", 1)
    go = tmp_path / "go"
    try:
        running = schedule.crew.call(faults.wait, json.dumps({"path": str(go)}))
        schedule.crew.dispatch(running)
        schedule.crew.until_started(running)
        schedule.dispatch()
        schedule.crew.executor.end_now()
        schedule.crew.until(lambda: len(schedule.crew.ended) == len(schedule.dispatched) + 1, "all are back")
        assert running.end == "stopped"
        assert {call.end for call in schedule.crew.ended} <= {"unstarted", "stopped", "returned"}
    finally:
        schedule.crew.close()
