"""The oracle: reads the ledger, the log of kills and the database, and says what must not be.

===  =====================================================================================================
I1   every acknowledged submit exists and has ended
I2   nothing without a submit
I3   at most one start per execution; at most one ever where ``max_attempts=1``
I4   a second run only after a logged failure, kill, stop or timeout of the first
I5   runs of one job never overlap, unless the earlier was fenced
I6   the stored result is the newest run's
I7   runs numbered without a gap, nothing left open, every charge in the history, the counts true
I8   parents commit before their children start
I10  the database is sound; processes, descriptors and temporary files as before
===  =====================================================================================================
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from ledger import Kill, Line

_ENDED = frozenset({"completed", "failed", "timeout", "cancelled"})
_CHARGED = frozenset({"completed", "failed", "timeout", "cancelled"})
_FENCED = frozenset({"timeout", "superseded"})


@dataclass
class Evidence:
    """What is known after a torture."""

    jobs: dict[str, dict[str, Any]]
    runs: dict[str, list[dict[str, Any]]]
    """Job -> its rows in the history, in the order of the runs."""
    counts: dict[str, int]
    integrity: str
    lines: list[Line]
    kills: list[Kill]
    starts: dict[str, list[Line]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[str, Line] = field(default_factory=dict)
    """Execution -> its ``end`` or ``fail``."""

    def __post_init__(self) -> None:
        for line in self.lines:
            if line.what == "start":
                self.starts[line.job].append(line)
            elif line.what in ("end", "fail"):
                self.ends[line.execution] = line

    def killed(self, start: Line, until: int) -> bool:
        """Whether the process of a run, or its worker, was ended or frozen from outside between its start and then."""
        return any(
            kill.pid in (start.pid, start.worker) and kill.after >= start.at and kill.before <= until
            for kill in self.kills
        )


def gather(db: str, lines: list[Line], kills: list[Kill]) -> Evidence:
    """Read the database through the views that people's own SQL reads."""
    connection = sqlite3.connect(db)
    connection.row_factory = sqlite3.Row
    with contextlib.closing(connection):
        jobs = {row["id"]: dict(row) for row in connection.execute("SELECT * FROM jobs")}
        runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in connection.execute("SELECT * FROM job_executions ORDER BY job_id, run"):
            runs[row["job_id"]].append(dict(row))
        counts = dict(connection.execute("SELECT status, sum(n) FROM counts GROUP BY status").fetchall())
        integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
    return Evidence(jobs, runs, counts, integrity, lines, kills)


def judge(evidence: Evidence) -> list[str]:
    """Every violation, each beginning with its number."""
    laws = (_submits, _starts, _reasons, _overlaps, _results, _history, _graph, _soundness)
    return [violation for law in laws for violation in law(evidence)]


def _submits(seen: Evidence) -> Iterator[str]:
    announced = {line.job for line in seen.lines if line.what == "submit"}
    for line in seen.lines:
        if line.what == "acked" and line.job not in seen.jobs:
            yield f"I1 {line.job} was acknowledged and is lost"
    for job, row in seen.jobs.items():
        if row["status"] not in _ENDED:
            yield f"I1 {job} is {row['status']} in the end"
        if announced and job not in announced:
            yield f"I2 {job} was never submitted"


def _starts(seen: Evidence) -> Iterator[str]:
    for job, starts in seen.starts.items():
        for execution, times in Counter(line.execution for line in starts).items():
            if times > 1:
                yield f"I3 execution {execution} of {job} was started {times} times"
        if len(starts) > 1 and seen.jobs.get(job, {}).get("max_attempts") == 1:
            yield f"I3 {job} has max_attempts=1 and was started {len(starts)} times"


def _reasons(seen: Evidence) -> Iterator[str]:
    for job, starts in seen.starts.items():
        ended = {row["id"]: row["status"] for row in seen.runs.get(job, [])}
        for first, second in pairwise(starts):
            status = ended.get(first.execution)
            if not _justified(seen, first, second, status):
                yield (
                    f"I4 {job} was started again ({second.execution}) after {first.execution} by {first.pid}, "
                    f"which ended as {status} without a reason on record"
                )


def _justified(seen: Evidence, first: Line, second: Line, status: str | None) -> bool:
    """Whether the end of the first run explains the second."""
    if status in ("crashed", "released"):
        return seen.killed(first, second.at)
    if status == "failed":
        end = seen.ends.get(first.execution)
        return end is not None and end.what == "fail"
    if status in _FENCED:
        timeout = seen.jobs[first.job]["timeout"]
        return timeout is not None and second.at - first.at >= timeout * 1e9
    return False


def _overlaps(seen: Evidence) -> Iterator[str]:
    for job, starts in seen.starts.items():
        ended = {row["id"]: row["status"] for row in seen.runs.get(job, [])}
        for first, second in pairwise(starts):
            end = seen.ends.get(first.execution)
            over = end is not None and end.at <= second.at
            fenced = ended.get(first.execution) in _FENCED
            if not (over or fenced or seen.killed(first, second.at)):
                yield f"I5 {first.execution} and {second.execution} of {job} overlap"


def _results(seen: Evidence) -> Iterator[str]:
    """Jobs of the torture return the id of their execution."""
    for job, row in seen.jobs.items():
        runs = seen.runs.get(job, [])
        if row["status"] != "completed" or not runs or job not in seen.starts:
            continue
        newest = runs[-1]
        if newest["status"] != "completed":
            yield f"I6 {job} is completed, and its newest run {newest['status']}"
        elif row["result"] is not None and json.loads(row["result"]) != newest["id"]:
            yield f"I6 {job} keeps the result {row['result']}; its newest run is {newest['id']}"


def _history(seen: Evidence) -> Iterator[str]:
    for job, row in seen.jobs.items():
        runs = seen.runs.get(job, [])
        if [run["run"] for run in runs] != list(range(1, len(runs) + 1)):
            yield f"I7 the runs of {job} are numbered {[run['run'] for run in runs]}"
        words = Counter(run["status"] for run in runs)
        if words["running"]:
            yield f"I7 {job} has a run that is left open"
        # A superseded run was settled before it reported: it was charged as a timeout.
        charged = sum(words[word] for word in _CHARGED | {"superseded"})
        if row["attempts"] != charged:
            yield f"I7 {job} was charged {row['attempts']} attempts, its history says {dict(words)}"
        if row["crashes"] != words["crashed"]:
            yield f"I7 {job} was charged {row['crashes']} crashes, its history says {dict(words)}"
        for run in runs:
            if run["status"] == "completed" and seen.ends and run["id"] not in seen.ends:
                yield f"I7 run {run['id']} of {job} is completed and never came to its end"
    real = Counter(row["status"] for row in seen.jobs.values())
    if dict(real) != {status: n for status, n in seen.counts.items() if n}:
        yield f"I7 the counts say {seen.counts}, there are {dict(real)}"


def _graph(seen: Evidence) -> Iterator[str]:
    for child, starts in seen.starts.items():
        if child not in seen.jobs:
            continue
        for parent in json.loads(seen.jobs[child]["dependencies"]):
            runs = seen.runs.get(parent, [])
            end = seen.ends.get(runs[-1]["id"]) if runs else None
            if end is None and _may_be_bad(seen, child, parent):
                continue  # cancelled, or dead: the ledger knows of no end
            if end is None or end.at > starts[0].at:
                yield f"I8 {child} was started before its parent {parent} had ended"


def _may_be_bad(seen: Evidence, child: str, parent: str) -> bool:
    """Whether a job runs though its parent has ended badly, as that has."""
    bad = seen.jobs.get(parent, {}).get("status") in ("failed", "timeout", "cancelled")
    return bad and seen.jobs[child]["on_parent_failure"] == "run"


def _soundness(seen: Evidence) -> Iterator[str]:
    if seen.integrity != "ok":
        yield f"I10 integrity_check: {seen.integrity}"
    for line in seen.lines:
        if line.what == "descriptors" and line.run > 0:
            yield f"I10 process {line.pid} ended with {line.run} descriptors more than it began with"


def strangers(folder: Path, expected: set[str]) -> list[str]:
    """I10: files that were left in the folder of the database."""
    return [f"I10 {file.name} was left behind" for file in folder.iterdir() if file.name not in expected]
