"""Workflow: draws a graph of jobs and posts it all, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gigq.job import Job
from gigq.task import TaskWrapper

if TYPE_CHECKING:
    import sqlite3

    from gigq.queue import JobQueue


class Workflow:
    """
    A utility class to help define workflows of dependent jobs.
    """

    def __init__(self, name: str) -> None:
        """
        Initialize a new workflow.

        Args:
            name: Name of the workflow.
        """
        self.name = name
        self.jobs: list[Job] = []
        self.job_map: dict[str, Job] = {}

    def add_job(self, job: Job, depends_on: list[Job] | None = None) -> Job:
        """
        Add a job to the workflow, with optional dependencies.

        Args:
            job: The job to add.
            depends_on: List of jobs this job depends on; they follow what the job already depends on.

        Returns:
            The job that was added.

        Raises:
            TypeError: the job was added before, or ``depends_on`` is not a list of jobs.
        """
        if not isinstance(job, Job):
            raise TypeError(f"add_job: a Job is needed, not {type(job).__name__}; use add_task for a @task")
        if job.id in self.job_map:
            raise TypeError(f"add_job: {job!r} is in workflow {self.name!r} already")
        parents = [] if depends_on is None else depends_on
        if not isinstance(parents, list | tuple) or not all(isinstance(parent, Job) for parent in parents):
            raise TypeError("add_job: depends_on takes a list of jobs, as add_job and add_task return them")
        job.dependencies = list(dict.fromkeys([*job.dependencies, *(parent.id for parent in parents)]))
        self.jobs.append(job)
        self.job_map[job.id] = job
        return job

    def add_task(
        self,
        decorated_fn: TaskWrapper[..., Any],
        params: dict[str, Any] | None = None,
        depends_on: list[Job] | None = None,
        pass_parent_results: bool | None = None,
    ) -> Job:
        """
        Add a @task-decorated function to the workflow.

        Creates a Job from the decorated function and adds it with
        optional dependencies. Raises TypeError if decorated_fn is
        not a @task-decorated function.

        Args:
            decorated_fn: A function decorated with @task.
            params: Parameters to pass to the function.
            depends_on: List of jobs this job depends on.
            pass_parent_results: If not ``None``, sets ``Job.pass_parent_results``.

        Returns:
            The Job that was created and added.
        """
        if not isinstance(decorated_fn, TaskWrapper):
            raise TypeError(
                f"add_task: a function with @task is needed, not {decorated_fn!r:.100}; use add_job for a Job"
            )
        job = decorated_fn.to_job(**(params or {}))
        if pass_parent_results is not None:
            job.pass_parent_results = pass_parent_results
        return self.add_job(job, depends_on)

    def submit_all(self, queue: JobQueue, *, connection: sqlite3.Connection | None = None) -> list[str]:
        """
        Submit all jobs in the workflow to a queue.

        One transaction: either all of them are in the queue, or none.

        Args:
            queue: The job queue to submit to.
            connection: As for :meth:`JobQueue.submit`.

        Returns:
            List of job IDs that were submitted. In the place of a unique job that meets another with its key stands the
            ID of that (with ``on_conflict="skip"`` none), and what depends on it depends on that other.

        Raises:
            InvalidJob: a job cannot be accepted, the jobs wait for each other in a circle, an id is in the queue
                already, or a dependency is neither in the workflow nor in the queue. Nothing was written.
        """
        if connection is None:  # for queues of others, which do not know it
            return queue.submit_many(self.jobs)
        return queue.submit_many(self.jobs, connection=connection)
