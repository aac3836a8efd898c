"""Jobs that depend on jobs: what ``add_job``, ``add_task`` and ``current_job().add`` accept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gigq.job import Job
from gigq.task import TaskWrapper


def depend(job: Job, parents: Iterable[Job], who: str) -> None:
    """Let a job depend on others: they follow what it already depends on, without doubles.

    Raises:
        TypeError: what is given is not a job, or not a list of jobs.
    """
    if not isinstance(job, Job):
        raise TypeError(f"{who}: a Job is needed, not {type(job).__name__}; use add_task for a @task")
    if not isinstance(parents, list | tuple) or not all(isinstance(parent, Job) for parent in parents):
        raise TypeError(f"{who}: depends_on takes a list of jobs, as add_job and add_task return them")
    job.dependencies = list(dict.fromkeys([*job.dependencies, *(parent.id for parent in parents)]))


def job_of(
    task: TaskWrapper[..., Any], params: dict[str, Any] | None, pass_parent_results: bool | None, who: str
) -> Job:
    """The job of a ``@task`` with these params.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(task, TaskWrapper):
        raise TypeError(f"{who}: a function with @task is needed, not {task!r:.100}; use add_job for a Job")
    job = task.to_job(**(params or {}))
    if pass_parent_results is not None:
        job.pass_parent_results = pass_parent_results
    return job
