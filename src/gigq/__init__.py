"""GigQ: a job queue in a file."""

from typing import TYPE_CHECKING, Any

from gigq.control import Cancel, Fail, RateLimited, Retry, Snooze
from gigq.errors import (
    DependencyCycle,
    DuplicateJob,
    FunctionUnavailable,
    GigQError,
    InvalidJob,
    InvalidSchedule,
    InvalidValue,
    JobError,
    ParentResultsTooLarge,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreReplaced,
    StoreUnusable,
    StoreVersion,
    TooManyAbandoned,
    UnknownParent,
    WorkerFailed,
    WorkflowFailed,
)
from gigq.job import Job
from gigq.limits import Limit
from gigq.log import setup_logging
from gigq.queue import JobQueue
from gigq.retry import Exponential
from gigq.status import JobStatus
from gigq.task import TaskWrapper, task
from gigq.unique import Unique
from gigq.workflow import Workflow

__version__ = "0.6.0"

if TYPE_CHECKING:
    from gigq.store.connections import close_connections
    from gigq.worker import Worker, current_job

_LAZY = {
    "Worker": "gigq.worker",
    "current_job": "gigq.worker",
    "close_connections": "gigq.store.connections",
}
"""What pulls in the database and the worker comes at first use: a program that only declares tasks starts fast."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


__all__ = [
    "Cancel",
    "DependencyCycle",
    "DuplicateJob",
    "Exponential",
    "Fail",
    "FunctionUnavailable",
    "GigQError",
    "InvalidJob",
    "InvalidSchedule",
    "InvalidValue",
    "Job",
    "JobError",
    "JobQueue",
    "JobStatus",
    "Limit",
    "ParentResultsTooLarge",
    "RateLimited",
    "Retry",
    "Snooze",
    "StoreBusy",
    "StoreError",
    "StoreFull",
    "StoreMissing",
    "StoreReplaced",
    "StoreUnusable",
    "StoreVersion",
    "TaskWrapper",
    "TooManyAbandoned",
    "Unique",
    "UnknownParent",
    "Worker",
    "WorkerFailed",
    "Workflow",
    "WorkflowFailed",
    "close_connections",
    "current_job",
    "setup_logging",
    "task",
]
