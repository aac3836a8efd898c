"""What can go wrong, as one tree.

::

    GigQError
    ├── InvalidJob (ValueError)            a declaration that cannot be accepted; nothing was written
    │   ├── DuplicateJob                   the id is in the queue already, or a unique key is taken
    │   ├── UnknownParent                  a dependency names a job that is not in the queue
    │   ├── DependencyCycle                jobs that wait for each other
    │   ├── InvalidSchedule                a cron expression, interval, date or zone that cannot be; or no such schedule
    │   └── InvalidValue                   params or a result that cannot be stored, or read back; names the path
    ├── StoreError                         the database
    │   ├── StoreMissing                   no file, or no queue in it, and it may not be created
    │   ├── StoreUnusable                  not a database, damaged, no permission, wrong place
    │   ├── StoreVersion                   made by a newer gigq, or this SQLite is too old
    │   ├── StoreBusy                      somebody else holds the write lock
    │   ├── StoreFull                      no space left
    │   └── StoreReplaced                  the file was replaced, renamed or deleted while in use
    ├── WorkerFailed                       a worker that cannot go on; its jobs are given back, or rescued
    │   └── TooManyAbandoned               too many of its threads hang: it is time for a new process
    ├── WorkflowFailed                     a workflow that was run to its end has not completed
    ├── Refused                            an operator's request that was understood and declined
    └── JobError                           raised by, or about, the run of one job
        ├── FunctionUnavailable            its module or function is missing in this worker
        ├── ParentResultsTooLarge          the results of its parents exceed what is passed at once
        └── Retry, Snooze, RateLimited, Fail, Cancel   what a function raises on purpose; see gigq.control
"""

from __future__ import annotations

from typing import Any


class GigQError(Exception):
    """Base of everything that gigq raises on purpose."""


class InvalidJob(GigQError, ValueError):
    """A job, workflow or option that cannot be accepted; nothing was written."""


class DuplicateJob(InvalidJob):
    """The id of a submitted job is in the queue already, or its unique key is taken and it asked to hear of that."""


class UnknownParent(InvalidJob):
    """A job depends on an id that is not in the queue."""


class DependencyCycle(InvalidJob):
    """Jobs of one submission wait for each other."""


class InvalidSchedule(InvalidJob):
    """A schedule that cannot be accepted, or that does not exist; the message names the field, or the schedule."""


class InvalidValue(InvalidJob):
    """A value that cannot be stored as JSON, or not be read as a function annotates it; the message names its place."""


class StoreError(GigQError):
    """Something about the database."""


class StoreMissing(StoreError):
    """There is no queue at this place, and it may not be created."""


class StoreUnusable(StoreError):
    """The file cannot serve as a queue: damaged, foreign, forbidden, or on a network share."""


class StoreVersion(StoreError):
    """The file is newer than this gigq, or the SQLite library is too old."""


class StoreBusy(StoreError):
    """Another program held the write lock for longer than ``busy_timeout``."""


class StoreFull(StoreError):
    """The disk, or the limit set for the database, is full."""


class StoreReplaced(StoreError):
    """The file was replaced, renamed or deleted while it was in use."""


class WorkerFailed(GigQError):
    """A worker that cannot go on working; what it had is given back, or rescued by another."""


class TooManyAbandoned(WorkerFailed):
    """More threads hang in runs that were given up than ``max_abandoned`` allows; a new process is rid of them."""


class WorkflowFailed(GigQError):
    """A workflow that was run to its end, and not all of its jobs completed."""

    def __init__(self, message: str, workflow: Any) -> None:
        super().__init__(message)
        self.workflow = workflow
        """The workflow, as ``queue.workflow(id)`` gives it."""


class Refused(GigQError):
    """An operator's request that was understood and declined; the message says why, and what to do instead."""


class JobError(GigQError):
    """Raised by, or about, the run of one job."""


class FunctionUnavailable(JobError):
    """The module or the function of a job does not exist in this worker."""

    def __init__(self, message: str, module: str) -> None:
        super().__init__(message)
        self.module = module


class ParentResultsTooLarge(JobError):
    """The results of a job's parents exceed what is handed over in one piece."""
