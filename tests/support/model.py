"""The contract as a dictionary of jobs: written from its words, without a look at the SQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

BAD = ("failed", "timeout", "cancelled")


@dataclass
class ModelJob:
    """A job, and what became of it."""

    id: str
    seq: int
    parents: list[str]
    priority: int
    policy: str
    max_attempts: int
    max_crashes: int
    retry_delay: int
    """Microseconds."""
    expires_at: int | None = None
    deadline: int | None = None
    """Microseconds from its submission, or its requeue."""
    deadline_at: int | None = None
    status: str = "pending"
    attempts: int = 0
    crashes: int = 0
    due_at: int | None = None
    held: bool = False
    held_since: int | None = None
    """When it was first found that nobody could run it; that day goes on while others try."""
    ended_at: int | None = None
    for_a_parent: bool = False
    """Cancelled for a parent's sake, not by its owner."""
    lease: str | None = None
    runs: list[list[str]] = field(default_factory=list)
    """[execution id, how it ended] of each ended run that had started."""


class Model:
    """What a store should hold."""

    def __init__(self) -> None:
        self.jobs: dict[str, ModelJob] = {}
        self._seq = 0

    # -- questions -----------------------------------------------------------------------------------------------

    def parents(self, job: ModelJob) -> Iterator[ModelJob]:
        """Those that were not cleared."""
        return (self.jobs[parent] for parent in job.parents if parent in self.jobs)

    def parents_left(self, job: ModelJob) -> int:
        """How many it still waits for."""
        return sum(
            parent.status != "completed" and not (job.policy == "run" and parent.status in BAD)
            for parent in self.parents(job)
        )

    def is_doomed(self, job: ModelJob) -> bool:
        return job.policy == "cancel" and any(parent.status in BAD for parent in self.parents(job))

    def ready(self) -> list[str]:
        """In the order in which they are claimed."""
        can_run = [
            job
            for job in self.jobs.values()
            if job.status == "pending" and job.due_at is None and not job.held and not self.parents_left(job)
        ]
        return [job.id for job in sorted(can_run, key=lambda job: (-job.priority, job.seq))]

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for job in self.jobs.values():
            found[job.status] = found.get(job.status, 0) + 1
        return found

    # -- verbs ---------------------------------------------------------------------------------------------------

    def submit(self, jobs: list[ModelJob]) -> None:
        for job in jobs:
            self._seq += 1
            job.seq = self._seq
            self.jobs[job.id] = job

    def ends_at(self, job: ModelJob) -> int | None:
        """When it is over if it is still pending."""
        ends = [end for end in (job.expires_at, job.deadline_at) if end is not None]
        return min(ends, default=None) if job.status == "pending" else None

    def expire(self, now: int) -> None:
        """End what is over while it is pending, and what that cancels."""
        for job in self.jobs.values():
            ends_at = self.ends_at(job)
            if ends_at is not None and ends_at <= now:
                self._end(job, "cancelled" if ends_at == job.expires_at else "timeout", now)
        self.spread(now)

    def promote(self, now: int) -> None:
        self.expire(now)
        for job in self.jobs.values():
            if job.due_at is not None and job.due_at <= now:
                job.due_at = None

    def claim(self, job_id: str, lease: str) -> None:
        job = self.jobs[job_id]
        assert job_id in self.ready()
        job.status, job.lease = "running", lease

    def settle(self, job_id: str, lease: str, end: str, now: int) -> bool:
        """Whether the run was still the job's newest; a late one is noted in the history, and that is all."""
        job = self.jobs.get(job_id)
        if job is None or job.status != "running" or job.lease != lease:
            for run in job.runs if job else []:
                if run[0] == lease and run[1] != "completed":
                    run[1] = "superseded"
            return False
        match end:
            case "returned":
                job.attempts += 1
                self._end(job, "completed", now)
            case "raised" | "timeout":
                job.attempts += 1
                too_late = job.deadline_at is not None and now + job.retry_delay >= job.deadline_at
                if job.attempts >= job.max_attempts or too_late:
                    self._end(job, "failed" if end == "raised" else "timeout", now)
                else:
                    job.status = "pending"
                    job.due_at = now + job.retry_delay if job.retry_delay else None
            case "died":
                job.crashes += 1
                if job.max_attempts == 1 or job.crashes >= job.max_crashes:
                    self._end(job, "failed", now)
                else:
                    job.status = "pending"
            case "stopped" if job.max_attempts == 1:
                self._end(job, "failed", now)
            case _:
                job.status = "pending"
        job.held = end == "unavailable"
        job.held_since = (job.held_since or now) if job.held else None
        words = {"returned": "completed", "raised": "failed", "died": "crashed", "stopped": "released"}
        if end not in ("unstarted", "unavailable"):
            job.runs.append([lease, words.get(end, end)])
        return True

    def spread(self, now: int) -> None:
        """Cancel what a parent's bad end cancels, down to the last grandchild."""
        while doomed := [
            job for job in self.jobs.values() if job.status == "pending" and self.is_doomed(job)
        ]:
            for job in doomed:
                self._end(job, "cancelled", now)
                job.for_a_parent = True

    def cancel(self, job_id: str, now: int) -> bool:
        job = self.jobs.get(job_id)
        if job is None or job.status != "pending":
            return False
        self._end(job, "cancelled", now)
        self.spread(now)
        return True

    def requeue(self, job_id: str, now: int) -> bool:
        self.expire(now)
        job = self.jobs.get(job_id)
        if job is None or job.status not in BAD or self.is_doomed(job):
            return False
        self._start_anew(job, now)
        while back := [
            job
            for job in self.jobs.values()
            if job.status == "cancelled" and job.for_a_parent and not self.is_doomed(job)
        ]:
            for child in back:
                self._start_anew(child, now)
        return True

    def clear(self, before: int | None) -> int:
        gone = 0
        while removable := [job for job in self.jobs.values() if self._is_clearable(job, before)]:
            for job in removable:
                del self.jobs[job.id]
            gone += len(removable)
        return gone

    def release_held(self) -> int:
        held = [job for job in self.jobs.values() if job.held]
        for job in held:
            job.held = False
        return len(held)

    def fail_held(self, since: int, now: int) -> int:
        held = [job for job in self.jobs.values() if job.held and (job.held_since or 0) < since]
        for job in held:
            self._end(job, "failed", now)
        self.spread(now)
        return len(held)

    def _is_clearable(self, job: ModelJob, before: int | None) -> bool:
        if job.status not in ("completed", "cancelled") or job.ended_at is None:
            return False
        if before is not None and job.ended_at >= before:
            return False
        children = (child for child in self.jobs.values() if job.id in child.parents)
        return all(child.status == "completed" for child in children)

    @staticmethod
    def _end(job: ModelJob, status: str, now: int) -> None:
        job.status, job.ended_at = status, now
        job.due_at = job.held_since = None
        job.held = False
        job.for_a_parent = False

    @staticmethod
    def _start_anew(job: ModelJob, now: int) -> None:
        job.expires_at = None
        job.deadline_at = None if job.deadline is None else now + job.deadline
        job.status = "pending"
        job.attempts = job.crashes = 0
        job.due_at = job.held_since = job.ended_at = None
        job.held = False
        job.for_a_parent = False
