"""current_job(): what a running function can ask about itself, and say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from gigq import codec
from gigq.clock import to_iso
from gigq.errors import JobError
from gigq.worker import describe
from gigq.worker.notes import Progress

if TYPE_CHECKING:
    from gigq.job import Job
    from gigq.task import TaskWrapper
    from gigq.worker.growing import Growth

_LONGEST_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class ParentJob:
    """A parent of the running job."""

    id: str
    status: str | None
    """One of the words of JobStatus; None once it was cleared."""
    error: str | None
    _result: str | None

    @property
    def result(self) -> Any:
        """Its result; None if it did not complete."""
        return codec.decode(self.result_text)

    @property
    def result_text(self) -> str | None:
        """The same as JSON text; None too for one that returned None."""
        return self._result if self.status == "completed" else None


class Facts(Protocol):
    """What is known of a run."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def runs(self) -> int: ...
    @property
    def execution_id(self) -> str | None: ...
    @property
    def tick(self) -> int | None: ...


class Voice(Protocol):
    """Whom running jobs turn to; ``run`` is what names one there."""

    def parents_of(self, run: Any) -> Iterable[tuple[str, str | None, str | None, str | None]]:
        """Id, status, JSON text of the result and error of each parent, in the order of the dependencies."""

    def say(self, run: Any, text: str) -> None: ...
    def progress(self, run: Any, progress: Progress) -> None: ...
    def is_asked_to_stop(self, run: Any) -> bool: ...
    def growth(self, run: Any) -> Growth:
        """Where it may put what it adds; asked for once."""


class CurrentJob:
    """The job that is running here."""

    __slots__ = ("_facts", "_growth", "_run", "_voice", "params")

    def __init__(self, facts: Facts, params: dict[str, Any], run: Any, voice: Voice) -> None:
        self._facts = facts
        self._run = run
        self._voice = voice
        self.params = params
        """As the function was given them."""
        self._growth: Growth | None = None

    @property
    def growth(self) -> Growth:
        """What it has added so far."""
        if self._growth is None:
            self._growth = self._voice.growth(self._run)
        return self._growth

    @property
    def id(self) -> str:
        return self._facts.id

    @property
    def name(self) -> str:
        return self._facts.name

    @property
    def attempt(self) -> int:
        """1 for the first; runs that were given back, stopped or died are not counted."""
        return self._facts.attempts + 1

    @property
    def run(self) -> int:
        """1 for the first; every start counts."""
        return self._facts.runs + 1

    @property
    def execution_id(self) -> str:
        """Names this run for ever: what it does elsewhere can be told from what other runs of the job did."""
        return self._facts.execution_id or ""

    @property
    def tick(self) -> datetime | None:
        """The time that its schedule made it for, in UTC; None for a job that no schedule has made.

        It stays the same however late the job starts, and in every attempt.
        """
        tick = self._facts.tick
        return None if tick is None else datetime.fromisoformat(to_iso(tick))

    @property
    def parents(self) -> Iterator[ParentJob]:
        """Its parents, in the order of its dependencies."""
        for parent, status, result, error in self._voice.parents_of(self._run):
            yield ParentJob(parent, status, error, result)

    @property
    def cancelled(self) -> bool:
        """Whether this run is asked to stop: it was cancelled, ran past its timeout, or its worker is stopping.

        A function that looks can end in its own way. What it returns after a cancel is kept as its result.
        """
        return self._voice.is_asked_to_stop(self._run)

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Tell how far this job is, as often as it likes: it is stored a few times a second at most.

        Args:
            done: how much is done, in any unit.
            total: how much there is to do, in the same unit; None if nobody knows.
            message: what it is doing, a line.

        Raises:
            JobError: a number is not one.
        """
        numbers = [done] if total is None else [done, total]
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise JobError(f"progress: a finite number is needed, not {number!r:.100}")
        told = None if message is None else describe.storable(str(message))[:_LONGEST_MESSAGE]
        self._voice.progress(self._run, Progress(float(done), None if total is None else float(total), told))

    def add(self, job: Job, depends_on: list[Job] | None = None) -> Job:
        """
        Add a job to the graph, while this one runs.

        It is in the queue when this run has completed, in the same transaction: a run that fails adds nothing. What
        depends on this job waits for the added one too, by its ``on_parent_failure``, and finds its result behind
        those of its other parents. It belongs to the same workflow. Up to 2,000 jobs can be added by one run.

        Args:
            job: The job to add. It may depend on any job that is in the queue or was added before, this one included.
            depends_on: Jobs it depends on, behind what it already depends on.

        Returns:
            The job that was added.

        Raises:
            InvalidJob: It cannot be accepted, is more than one run may add, or depends on a job that is unknown
                (UnknownParent) or waits for this one (DependencyCycle). The run may go on without it.
            TypeError: What is given is not a Job.
        """
        from gigq import edges

        edges.depend(job, [] if depends_on is None else depends_on, "add")
        self.growth.add(job)
        return job

    def add_task(
        self,
        decorated_fn: TaskWrapper[..., Any],
        params: dict[str, Any] | None = None,
        depends_on: list[Job] | None = None,
        pass_parent_results: bool | None = None,
    ) -> Job:
        """Add a job of a ``@task``; see :meth:`add` and ``Workflow.add_task``."""
        from gigq import edges

        return self.add(edges.job_of(decorated_fn, params, pass_parent_results, "add_task"), depends_on)

    def log(self, message: object) -> None:
        """A line in this run's output, beside what it prints; see ``gigq logs``."""
        self.write(f"{message}\n")

    def write(self, text: str) -> None:
        """Add to this run's output, as print() does."""
        self._voice.say(self._run, describe.storable(text))


_current: ContextVar[CurrentJob | None] = ContextVar("gigq_current_job", default=None)


def current_job() -> CurrentJob:
    """The job that is running in this thread or coroutine.

    Raises:
        JobError: no job is.
    """
    job = _current.get()
    if job is None:
        raise JobError("current_job(): no job is running here; call it from a job's function")
    return job


look: Callable[[], CurrentJob | None] = _current.get
"""The same, or None."""
enter = _current.set
leave = _current.reset
