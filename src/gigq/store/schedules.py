"""Schedules: what is declared of them, and the one transaction that turns ticks into jobs."""

from __future__ import annotations

from typing import Literal, NamedTuple

from msgspec import Struct

from gigq.errors import InvalidSchedule
from gigq.newjob import NewJob
from gigq.store import submission
from gigq.store.transaction import Transaction, as_json
from gigq.store.verbs import Verbs


class Definition(NamedTuple):
    """What is declared of a schedule, as the table has it."""

    name: str
    rule: str
    misfire: str
    catch_up: int
    overlap: str
    job: str


class ScheduleRow(Struct, array_like=True):
    """A schedule as it stands."""

    name: str
    revision: int
    rule: str
    misfire: str
    catch_up: int
    overlap: str
    job: str
    anchor: int
    paused: int
    tick_at: int | None
    last_tick: int | None
    last_job: str | None
    skipped_at: int | None
    skipped_for: str | None
    error: str | None
    error_at: int | None
    created_at: int
    updated_at: int
    job_status: str | None = None
    """How the last job stands; only in lists, as what follows."""
    job_error: str | None = None

    @property
    def definition(self) -> Definition:
        return Definition(self.name, self.rule, self.misfire, self.catch_up, self.overlap, self.job)


class Firing(NamedTuple):
    """What is to become of a schedule that is due."""

    row: ScheduleRow
    """As it was read; if it is not like that any more nothing becomes of it."""
    jobs: list[tuple[int, NewJob]]
    """The tick of each, oldest first."""
    next: int | None
    missed: int | None
    """The newest tick that is left out."""


class Refusal(NamedTuple):
    """A schedule whose tick cannot become a job now."""

    row: ScheduleRow
    error: str


class Fired(NamedTuple):
    """What became of a schedule that was due."""

    name: str
    jobs: list[tuple[int, NewJob]]
    skipped: int | None
    skipped_for: Literal["misfire", "overlap", "unique"] | None

    def without(self, met: dict[str, str]) -> Fired:
        """The same if some jobs were not added because another has their unique key."""
        left_out = [tick for tick, job in self.jobs if job.id in met]
        if not left_out:
            return self
        made = [(tick, job) for tick, job in self.jobs if job.id not in met]
        return Fired(self.name, made, left_out[-1], "unique")

    @property
    def last_tick(self) -> int | None:
        return self.jobs[-1][0] if self.jobs else None

    @property
    def last_job(self) -> str | None:
        return self.jobs[-1][1].id if self.jobs else None


class Added(NamedTuple):
    """What became of ticks that had no job."""

    ids: list[str]
    """Of their jobs: new ones, and those that have their unique keys."""
    new: int


class Schedules(Verbs):
    """The verbs about schedules."""

    def put_schedule(self, what: Definition, tick: int | None, now: int) -> None:
        """Add a schedule, or change it; ``tick`` is the first one of its rule."""
        with self._writing() as tx:
            tx.run("put_schedule", **what._asdict(), tick=tick, now=now)

    def schedule(self, name: str) -> ScheduleRow | None:
        with self._reading() as tx:
            found = tx.array("schedule_named", ScheduleRow, name=name)
            return found[0] if found else None

    def schedules(self) -> list[ScheduleRow]:
        """All of them by name, with how their last jobs stand."""
        with self._reading() as tx:
            return tx.array("schedule_list", ScheduleRow)

    def drop_schedule(self, name: str) -> bool:
        with self._writing(ring=False) as tx:
            return tx.run("drop_schedule", name=name) == 1

    def pause_schedule(self, name: str, now: int) -> bool:
        """False if there is none of that name, or it is paused already."""
        with self._writing(ring=False) as tx:
            return tx.run("pause_schedule", name=name, now=now) == 1

    def resume_schedule(self, row: ScheduleRow, tick: int | None, now: int) -> bool:
        """False if it has changed since it was read, or is not paused."""
        with self._writing() as tx:
            return tx.run("resume_schedule", name=row.name, revision=row.revision, tick=tick, now=now) == 1

    def next_tick(self) -> int | None:
        """When a schedule is due, in the past too."""
        with self._reading() as tx:
            tick: int | None = tx.value("next_tick")
            return tick

    def schedules_due(self, now: int, limit: int) -> list[ScheduleRow]:
        """Longest overdue first."""
        with self._reading() as tx:
            return tx.array("schedules_due", ScheduleRow, now=now, limit=limit)

    def fire(self, firings: list[Firing], now: int) -> list[Fired]:
        """Make the jobs of ticks that are due, and move their schedules on: one transaction.

        Whoever comes second finds the schedule moved on, and does nothing.

        Raises:
            InvalidJob: one of the jobs is refused. Nothing was written.
            StoreError: they cannot be written. Nothing was written.
        """
        with self._writing() as tx:
            return _fire(tx, firings, now)

    def put_off(self, refusals: list[Refusal], due_at: int, now: int) -> None:
        """Note why schedules could not fire; they are due again later."""
        rows = [(one.row.name, one.row.revision, one.row.tick_at, one.error) for one in refusals]
        with self._writing() as tx:
            tx.run("put_off_schedules", refused=as_json(rows), due_at=due_at, now=now)

    def add_ticks(self, row: ScheduleRow, jobs: list[tuple[int, NewJob]], now: int) -> Added:
        """Jobs for ticks that have none yet, whenever they are, in one transaction.

        Raises:
            InvalidJob: as for a submission; or the schedule is gone, or has changed since it was read.
        """
        with self._writing() as tx:
            found = tx.array("schedule_named", ScheduleRow, name=row.name)
            if not found or found[0].revision != row.revision:
                raise InvalidSchedule(f"schedule {row.name!r} was changed or removed meanwhile. Try again.")
            taken = _taken(tx, [(row.name, tick) for tick, _ in jobs])
            wanted = [(tick, job) for tick, job in jobs if (row.name, tick) not in taken]
            if row.overlap != "allow":
                _chain([job for _, job in wanted], tx.value("last_job_of", name=row.name))
            met = _insert(tx, [(row.name, tick, job) for tick, job in wanted], now)
            added = [job.id for _, job in wanted if job.id not in met]
            if added:
                tx.run("note_last_job", name=row.name, job=added[-1])
        return Added([met.get(job.id, job.id) for _, job in wanted], len(added))

    def run_now(self, row: ScheduleRow, job: NewJob, now: int) -> str:
        """One job for this very moment, or the first one after it that has none."""
        while not (ids := self.add_ticks(row, [(now, job)], now).ids):
            now += 1
        return ids[0]


def _fire(tx: Transaction, firings: list[Firing], now: int) -> list[Fired]:
    read = as_json([(one.row.name, one.row.revision, one.row.tick_at) for one in firings])
    unended = dict(tx.array("schedules_unchanged", tuple[int, str | None], firings=read))
    due = [one for place, one in enumerate(firings) if place in unended]
    if not due:
        return []
    taken = _taken(tx, [(one.row.name, tick) for one in due for tick, _ in one.jobs])
    fired = [_decide(one, unended[place], taken) for place, one in enumerate(firings) if place in unended]
    met = _insert(tx, [(one.name, tick, job) for one in fired for tick, job in one.jobs], now)
    fired = [one.without(met) for one in fired]
    advances = [
        (one.name, firing.next, one.last_tick, one.last_job, one.skipped, one.skipped_for)
        for one, firing in zip(fired, due, strict=True)
    ]
    tx.run("advance_schedules", firings=as_json(advances))
    return fired


def _decide(firing: Firing, unended: str | None, taken: set[tuple[str, int]]) -> Fired:
    """What the schedule's last job, and jobs that there are already, leave of a firing."""
    name, overlap = firing.row.name, firing.row.overlap
    jobs = [(tick, job) for tick, job in firing.jobs if (name, tick) not in taken]
    if overlap == "skip" and unended is not None and jobs:
        return Fired(name, [], jobs[-1][0], "overlap")
    if overlap == "queue":
        _chain([job for _, job in jobs], unended)
    return Fired(name, jobs, firing.missed, None if firing.missed is None else "misfire")


def _chain(jobs: list[NewJob], before: str | None) -> None:
    """Each waits for the one before it, however that ends."""
    for job in jobs:
        job.dependencies = [] if before is None else [before]
        job.on_parent_failure = "run"
        job.pass_parent_results = job.wants_parents = 0
        before = job.id


def _taken(tx: Transaction, ticks: list[tuple[str, int]]) -> set[tuple[str, int]]:
    if not ticks:
        return set()
    return set(tx.array("ticks_taken", tuple[str, int], ticks=as_json(ticks)))


def _insert(tx: Transaction, jobs: list[tuple[str, int, NewJob]], now: int) -> dict[str, str]:
    """Id of a job that was not added -> id of the one that has its unique key."""
    if not jobs:
        return {}
    met = submission.insert(tx, submission.plan([job for _, _, job in jobs]), now)
    tx.run(
        "mark_ticks", ticks=as_json([(job.id, name, tick) for name, tick, job in jobs if job.id not in met])
    )
    return met
