"""current_job(): what a running function can ask about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from gigq import codec
from gigq.errors import JobError
from gigq.store.base import Parent


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
        return codec.decode(self._result) if self.status == "completed" else None


class CurrentJob:
    """The job that is running here."""

    def __init__(
        self, job_id: str, name: str, attempt: int, params: dict[str, Any], load: Callable[[], list[Parent]]
    ):
        self.id = job_id
        self.name = name
        self.attempt = attempt
        """1 for the first."""
        self.params = params
        self._load = load

    @property
    def parents(self) -> Iterator[ParentJob]:
        """Its parents, in the order of its dependencies."""
        for parent in self._load():
            yield ParentJob(parent.id, parent.status, parent.error, parent.result)


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


enter = _current.set
leave = _current.reset
