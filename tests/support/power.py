"""Power cuts: what a disk may hold of what a traced program has written, and what must be found there.

The model, harsher than any journaling file system:

- What a file held when ``fsync`` or ``fdatasync`` of it began is on the disk when that call returns. Of everything
  else any part may be: each write is there, or is not, or is there in some of its sectors of 512 bytes; in any order,
  so that of two writes to one place the older may win; a truncation is there or not. Where a write made the file longer
  and is not there, the file may have grown all the same, by zeros or by rubbish.
- That a name was made, removed or changed is on the disk after an ``fsync`` of its directory. (ext4 also keeps the
  name of a file that was synced itself; we do not count on it.) Of the others each name may be as it was at any moment
  since.
- A sector is written whole or not at all, and a write does not harm the bytes beside it in its sector.

The ``-shm`` is rebuilt by SQLite, and the sidecar holds nothing that outlives a boot: neither survives here.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import ledger
import tracer
from clocks import TurnedClock
from stores import Hands, assert_sound
from tracer import NEVER, Event

from gigq import JobQueue
from gigq.errors import StoreError

SECTOR = 512
SUPPORT = Path(__file__).parent
_KEPT = ("jobs.db", "jobs.db-wal", "jobs.db-journal")


# -- the disk ---------------------------------------------------------------------------------------------------------


@dataclass
class _File:
    """One inode."""

    synced: bytearray
    cached: list[Event] = field(default_factory=list)
    """Writes and truncations that are not known to be on the disk, in the order of their entries."""


class _Change(NamedTuple):
    """Of a name in the folder."""

    name: str
    file: _File | None
    """What it names from now on."""
    end: int


class Disk:
    """Fed with all calls in their order, up to any moment, at which it can be looked at."""

    def __init__(self, start: dict[str, bytes]) -> None:
        self._synced: dict[str, _File | None] = {
            name: _File(bytearray(content)) for name, content in start.items()
        }
        self._now = dict(self._synced)
        self._changes: list[_Change] = []

    def enter(self, event: Event) -> None:
        """A call begins; what it does may be done from now on."""
        name = Path(event.path).name
        if event.call in ("pwrite64", "ftruncate"):
            file = self._now[name]
            assert file is not None, event
            file.cached.append(event)
        elif event.call == "unlink":
            self._change(_Change(name, None, event.end))
        elif event.call == "rename":
            self._change(_Change(Path(event.to).name, self._now[name], event.end))
            self._change(_Change(name, None, event.end))

    def exit(self, event: Event) -> None:
        """A call has returned."""
        name = Path(event.path).name
        if event.value < 0:
            assert event.call == "openat", event  # one that finds nothing
        elif event.call == "pwrite64":
            assert event.value == len(event.data), event
        elif event.call == "openat":
            assert event.creates, event
            self._change(_Change(name, _File(bytearray()), event.end))
        elif event.call in ("fsync", "fdatasync"):
            if name in _KEPT:
                self._sync(self._now[name], event)
            else:
                self._sync_folder(event)
        elif event.call not in ("unlink", "rename", "ftruncate"):
            raise AssertionError(f"a call that this model does not know: {event}")

    def _change(self, change: _Change) -> None:
        self._changes.append(change)
        self._now[change.name] = change.file

    @staticmethod
    def _sync(file: _File | None, sync: Event) -> None:
        assert file is not None, sync
        for event in file.cached:
            if event.end <= sync.begin:
                _apply(file.synced, event, None, None)
        file.cached = [event for event in file.cached if event.end > sync.begin]

    def _sync_folder(self, sync: Event) -> None:
        for change in self._changes:
            if change.end <= sync.begin:
                self._synced[change.name] = change.file
        self._changes = [change for change in self._changes if change.end > sync.begin]

    def after_a_cut(self, dice: random.Random) -> dict[str, bytes]:
        """What is there when the power comes back: names and contents."""
        names = dict(self._synced)
        for name in {change.name for change in self._changes}:
            mine = [change for change in self._changes if change.name == name]
            for change in mine[: dice.randint(0, len(mine))]:
                names[name] = change.file
        how = dice.choice(["none", "all", "some", "some", "shuffled", "sectors"])
        return {name: bytes(_left_of(file, dice, how)) for name, file in names.items() if file is not None}


def _left_of(file: _File, dice: random.Random, how: str) -> bytearray:
    content = bytearray(file.synced)
    cached = list(file.cached)
    if how == "shuffled":
        dice.shuffle(cached)
    share = dice.random()
    torn = dice.choice(cached) if cached and how not in ("none", "all") else None
    for event in cached:
        if how == "all" or (
            event is not torn and how != "sectors" and how != "none" and dice.random() < share
        ):
            _apply(content, event, None, None)
        elif how != "none":
            _apply(content, event, dice, share if how == "sectors" or event is torn else 0.0)
    return content


def _apply(content: bytearray, event: Event, dice: random.Random | None, share: float | None) -> None:
    """Do what a call does; of a write only so many of its sectors, if there are dice."""
    if event.call == "ftruncate":
        if dice is None or dice.random() < (share or 0):
            del content[event.offset :]
            content.extend(bytes(event.offset - len(content)))
        return
    end = event.offset + len(event.data)
    if dice is None:
        content.extend(bytes(max(0, end - len(content))))
        content[event.offset : end] = event.data
        return
    assert share is not None
    old = len(content)
    if end > old and dice.random() < (share or 0.1):
        content.extend(bytes(end - old) if dice.random() < 0.5 else dice.randbytes(end - old))
    first = event.offset - event.offset % SECTOR
    for sector in range(first, end, SECTOR):
        if dice.random() >= share:
            continue
        since, until = max(sector, event.offset), min(sector + SECTOR, end)
        content.extend(bytes(max(0, until - len(content))))
        content[since:until] = event.data[since - event.offset : until - event.offset]


# -- a run on record --------------------------------------------------------------------------------------------------


@dataclass
class Record:
    """What a program did to its database, and what it said meanwhile."""

    start: dict[str, bytes]
    events: list[Event]
    """On the database and its folder."""
    said: list[tuple[int, ledger.Line]]
    """Each with the position at which it was said."""

    @property
    def last(self) -> int:
        return max(event.begin if event.end == NEVER else event.end for event in self.events)

    def groups(self) -> list[tuple[int, int, list[str]]]:
        """What was submitted together, in that order: when it was announced, and acknowledged (or NEVER)."""
        acked = {line.job: position for position, line in self.said if line.what == "acked"}
        found: list[tuple[int, int, list[str]]] = []
        for is_new, lines in itertools.groupby(
            (one for one in self.said if one[1].what in ("submit", "acked")),
            key=lambda one: one[1].what == "submit",
        ):
            if is_new:
                announced = list(lines)
                jobs = [line.job for _, line in announced]
                found.append((announced[0][0], acked.get(jobs[-1], NEVER), jobs))
        return found

    def cuts(self, number: int, dice: random.Random) -> list[int]:
        """Moments spread over the run; every third one lies just before or after something was said."""
        told = [position for position, line in self.said if line.what != "submit"]
        moments = [
            dice.choice(told) + dice.randint(-1, 2) if told and n % 3 == 0 else dice.randint(1, self.last)
            for n in range(number)
        ]
        return sorted(moments)

    def images(self, number: int, dice: random.Random) -> Iterator[tuple[int, dict[str, bytes]]]:
        """Power cuts, each with what it leaves."""
        disk = Disk(self.start)
        edges = sorted(
            (position, is_exit, place)
            for place, event in enumerate(self.events)
            for position, is_exit in ((event.begin, False), (event.end, True))
            if position != NEVER
        )
        at = 0
        for cut in self.cuts(number, dice):
            while at < len(edges) and edges[at][0] < cut:
                _, is_exit, place = edges[at]
                (disk.exit if is_exit else disk.enter)(self.events[place])
                at += 1
            yield cut, disk.after_a_cut(dice)


def record(folder: Path, options: dict[str, Any], start: Path | None = None) -> Record:
    """Let the subject (see power_subject.Options) work in a folder, from a copy of a file if there is one."""
    home = folder / "queue"
    home.mkdir(parents=True)
    beginning = {}
    if start is not None:
        shutil.copyfile(start, home / "jobs.db")
        beginning["jobs.db"] = start.read_bytes()
    told = folder / "ledger"
    trace = folder / "trace"
    orders = tracer.Orders(
        under=str(folder),
        names=["/queue", "/ledger", *(f"/queue/{name}" for name in _KEPT)],
        record=str(trace),
    )
    subject = {"db": str(home / "jobs.db"), **options}
    done = subprocess.run(
        [
            *tracer.command(orders),
            sys.executable,
            str(SUPPORT / "power_subject.py"),
            json.dumps(subject),
        ],
        env={**os.environ, ledger.VARIABLE: str(told), "PYTHONPATH": str(SUPPORT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    calls = tracer.await_events(trace)
    said = [
        (event.begin, line)
        for event in calls
        if event.path == str(told) and event.call == "write"
        for line in ledger.parse(event.data.decode())
    ]
    return Record(beginning, [event for event in calls if event.path != str(told)], said)


# -- what must be found ------------------------------------------------------------------------------------------------


def lay(image: dict[str, bytes], folder: Path) -> Path:
    """Put an image into a new folder; the database."""
    folder.mkdir()
    for name, content in image.items():
        (folder / name).write_bytes(content)
    return folder / "jobs.db"


@dataclass
class Found:
    """What is in a queue after a cut."""

    jobs: dict[str, str]
    """Id -> status, in the order of submission."""
    runs: set[str]
    """Executions that are known."""
    broken: str | None = None
    """What is wrong with the file, or contradicts itself in it."""


def look(path: Path) -> Found:
    """Open what is there with gigq, which recovers it; it stays open for this thread."""
    try:
        queue = JobQueue(path)
        hands = Hands(queue._store, TurnedClock())
        assert_sound(hands)
        runs = {str(row[0]) for row in hands.sql("SELECT id FROM job_executions")}
        return Found(hands.statuses(), runs)
    except (StoreError, AssertionError, sqlite3.Error) as error:
        return Found({}, set(), f"{type(error).__name__}: {str(error)[:500]}")


def missing(seen: Record, cut: int, found: Found, *, full: bool) -> list[str]:
    """What must not be: a job lost that must be there, another order, an end undone."""
    if found.broken:
        return [f"corrupt: {found.broken}"]
    faults: list[str] = []
    groups = [group for group in seen.groups() if group[0] < cut]
    there = [all(job in found.jobs for job in jobs) for _, _, jobs in groups]
    for is_there, (_, acked, jobs) in zip(there, groups, strict=True):
        if not is_there and any(job in found.jobs for job in jobs):
            faults.append(f"half of {jobs} is there")
        if full and not is_there and acked < cut:
            faults.append(f"{jobs} was acknowledged at {acked} and is lost")
    if there != sorted(there, reverse=True):
        faults.append(f"what is there is not what was submitted first: {there}")
    before = [line for position, line in seen.said if position < cut]
    known = {job for _, _, jobs in groups for job in jobs}
    faults += [f"{job} came from nowhere" for job in found.jobs if seen.start == {} and job not in known]
    if full:
        for line in before:
            what, _, status = line.what.partition(":")
            if what == "settled" and status != "pending" and found.jobs.get(line.job) != status:
                faults.append(f"{line.job} had ended as {status} and is {found.jobs.get(line.job)}")
            if (what in ("start", "settled")) and line.execution != "-" and line.execution not in found.runs:
                faults.append(f"run {line.execution} of {line.job}: {line.what} is not known any more")
    return faults
