"""Workflow: draws a graph of jobs, posts it all or not at all, and runs it if it is asked to."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gigq import callables, edges, ids, posting
from gigq.clock import SYSTEM
from gigq.errors import InvalidJob, WorkflowFailed
from gigq.job import Job
from gigq.task import TaskWrapper

if TYPE_CHECKING:
    import sqlite3

    from gigq import drawing
    from gigq.queue import JobQueue
    from gigq.submitted import Results

_LOOK = 0.05
"""Seconds between two looks whether a workflow that is run here has ended."""


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
        self.id = ids.job_id()
        """By which :meth:`JobQueue.workflow` finds it again."""
        self.jobs: list[Job] = []
        self.job_map: dict[str, Job] = {}
        self._at_end: list[Job] = []
        self._ends: dict[str, Job] = {}
        """The same by id, with those of its parts."""
        self._parts: list[Workflow] = []

    def add_job(self, job: Job, depends_on: Sequence[Job | Workflow] | None = None) -> Job:
        """
        Add a job to the workflow, with optional dependencies.

        Args:
            job: The job to add.
            depends_on: List of jobs this job depends on; they follow what the job already depends on. A workflow that
                was added stands for all its last jobs.

        Returns:
            The job that was added.

        Raises:
            TypeError: the job was added before, or ``depends_on`` is not a list of jobs.
        """
        if isinstance(job, Job) and job.id in self.job_map:
            raise TypeError(f"add_job: {job!r} is in workflow {self.name!r} already")
        edges.depend(job, self._parents(depends_on), "add_job")
        self._take(job)
        return job

    def add_task(
        self,
        decorated_fn: TaskWrapper[..., Any],
        params: dict[str, Any] | None = None,
        depends_on: Sequence[Job | Workflow] | None = None,
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
        return self.add_job(edges.job_of(decorated_fn, params, pass_parent_results, "add_task"), depends_on)

    def map(
        self,
        task: TaskWrapper[..., Any] | Job,
        over: Job,
        param: str | None = None,
        params: dict[str, Any] | None = None,
        depends_on: Sequence[Job | Workflow] | None = None,
    ) -> Job:
        """
        Run a task once for each item of what another job returns.

        When ``over`` has completed, one job is added for each item of its list, or for each ``[key, value]`` of its
        dict. The job that is returned stands for all of them: it completes when they have, and its result is the list
        of their results, in order (``[]`` for none). If an item ends badly, the task's ``on_parent_failure`` decides as it
        does for any job and its parents: with ``"run"`` the list holds None in its place.

        Args:
            task: What to run: a ``@task``, or a Job whose function and options each item takes.
            over: The job that returns a list or a dict; if it returns something else, the map fails.
            param: The parameter by which an item is passed; by default the function's first that ``params`` leaves.
            params: Parameters that all of them are passed.
            depends_on: Jobs that must complete, besides ``over``, before the first item runs.

        Returns:
            The job that gathers the results, for ``depends_on`` of what follows.

        Raises:
            InvalidJob: ``params`` hold ``param``, or the function has no parameter for an item.
            TypeError: an argument is of another type.
        """
        if not isinstance(over, Job):
            raise TypeError(f"map: over takes a job, as add_job and add_task return it, not {over!r:.100}")
        each = copy.copy(task) if isinstance(task, Job) else edges.job_of(task, None, None, "map")
        each.params = {**each.params, **(params or {})}
        from gigq.worker import unfold

        first, last = unfold.jobs_of(each, param)
        self.add_job(first, [over, *(depends_on or ())])
        return self.add_job(last, [first])

    def add_workflow(
        self, workflow: Workflow, depends_on: Sequence[Job | Workflow] | None = None
    ) -> Workflow:
        """
        Add all jobs of another workflow, as they are now, as a part of this one.

        Args:
            workflow: The other one.
            depends_on: What its first jobs, those that depend on none of its own, wait for.

        Returns:
            The workflow that was added: in ``depends_on`` it stands for its last jobs.

        Raises:
            TypeError: It is none, is this one, or has a job that was added before.
            InvalidJob: It has no jobs.
        """
        if not isinstance(workflow, Workflow) or workflow is self:
            raise TypeError(f"add_workflow: another Workflow is needed, not {workflow!r:.100}")
        if not workflow.jobs:
            raise InvalidJob(f"add_workflow: workflow {workflow.name!r} has no jobs")
        if twice := [job for job in workflow.jobs if job.id in self.job_map]:
            raise TypeError(f"add_workflow: {twice[0]!r} is in workflow {self.name!r} already")
        parents = self._parents(depends_on)
        workflow._tie_ends()
        for job in workflow.jobs:
            is_first = not any(parent in workflow.job_map for parent in job.dependencies)
            edges.depend(job, parents if is_first else [], "add_workflow")
            self._take(job)
        self._ends |= workflow._ends
        self._parts.append(workflow)
        return workflow

    def on_end(self, task: TaskWrapper[..., Any] | Job, params: dict[str, Any] | None = None) -> Job:
        """
        Add a job that runs when all others have ended, in whatever way.

        It depends on every job of the workflow that is not such a job itself, whenever added, those included that jobs add
        when they run. ``current_job().parents`` tells it how each ended; ``parent_results`` has None for those that did
        not complete. A cancel of the workflow does not call it off.

        Args:
            task: A ``@task``, or a Job, which then runs whatever its ``on_parent_failure`` says.
            params: Parameters to pass to the task.

        Returns:
            The job that was added.
        """
        job = task if isinstance(task, Job) else edges.job_of(task, params, None, "on_end")
        job.on_parent_failure = "run"
        self.add_job(job)
        self._at_end.append(job)
        self._ends[job.id] = job
        return job

    def submit_all(self, queue: JobQueue, *, connection: sqlite3.Connection | None = None) -> list[str]:
        """
        Submit all jobs in the workflow to a queue.

        One transaction: either all of them are in the queue, or none. ``queue.workflow(workflow.id)`` finds it again.

        Args:
            queue: The job queue to submit to.
            connection: As for :meth:`JobQueue.submit`.

        Returns:
            List of job IDs that were submitted. Those of :meth:`on_end` come last. In the place of a unique job that meets another with its key stands the
            ID of that (with ``on_conflict="skip"`` none), and what depends on it depends on that other.

        Raises:
            InvalidJob: a job cannot be accepted, the jobs wait for each other in a circle, an id is in the queue
                already, or a dependency is neither in the workflow nor in the queue. Nothing was written.
        """
        self._tie_ends()
        if not self.jobs:
            return []
        from gigq.store.rows import NewWorkflow

        posting.check_name(self.name)
        jobs = [job for job in self.jobs if job.id not in self._ends]
        stored = NewWorkflow(self.id, self.name, SYSTEM.now(), len(self._ends))
        return queue._submit_many([*jobs, *self._ends.values()], connection, stored)

    def run(self, queue: JobQueue | None = None, *, check: bool = True, **worker_options: Any) -> Results:
        """
        Submit the workflow, and run it here until all its jobs have ended.

        A worker of this process runs whatever is ready in the queue; other workers may help.

        Args:
            queue: Where to submit it; by default a queue in memory, which ends with this call.
            check: Raise if not all jobs completed.
            **worker_options: As for Worker, such as ``concurrency`` and ``executor``.

        Returns:
            The results of the jobs that completed, by id and name.

        Raises:
            WorkflowFailed: Not all jobs completed; its ``workflow`` can be asked for more.
            KeyboardInterrupt: Ctrl-C; what was running was finished first (see ``grace`` of Worker), the rest is pending.
            InvalidJob: As for :meth:`submit_all`.
        """
        callables.end_load()
        from gigq.queue import JobQueue
        from gigq.worker import Worker

        target = JobQueue(":memory:") if queue is None else queue
        worker = Worker(target, **{"polling_interval": _LOOK, **worker_options})
        try:
            self.submit_all(target)
        except BaseException:
            worker.close()
            raise
        if not self.jobs:
            from gigq.submitted import Results

            return Results([])
        submitted = target.workflow(self.id)
        next_look = 0.0

        def look(told_to_stop: bool) -> None:
            nonlocal next_look
            if not told_to_stop and time.monotonic() >= next_look:
                next_look = time.monotonic() + _LOOK
                if not submitted.can_go_on():
                    worker.stop()

        worker.on_turn = look
        worker.start()
        if submitted.can_go_on():
            raise KeyboardInterrupt
        if check and submitted.status != "completed":
            raise WorkflowFailed(submitted.summary(), submitted)
        return submitted.results()

    def draw(self, form: drawing.Form = "text") -> str:
        """
        Draw the graph, parents above children. Many jobs alike, at the same depth, are drawn as one.

        Args:
            form: ``"text"``, ``"mermaid"`` or ``"svg"``.

        Raises:
            InvalidJob: There is no such form.
        """
        from gigq import drawing

        self._tie_ends()
        nodes = [drawing.Node(job.id, job.name, None, job.dependencies) for job in self.jobs]
        return drawing.draw(self.name, nodes, form)

    def _take(self, job: Job) -> None:
        self.jobs.append(job)
        self.job_map[job.id] = job

    def _parents(self, depends_on: Any) -> Any:
        """The jobs that are meant, as far as it is a list of jobs and workflows."""
        if depends_on is None:
            return []
        if not isinstance(depends_on, list | tuple):
            return depends_on
        parents: list[Any] = []
        for parent in depends_on:
            if isinstance(parent, Workflow):
                if parent not in self._parts:
                    raise TypeError(
                        f"depends_on: workflow {parent.name!r} is no part of this; use add_workflow first"
                    )
                parents += parent._last_jobs()
            else:
                parents.append(parent)
        return parents

    def _last_jobs(self) -> list[Job]:
        """Those that no other waits for but those that run at the end, and these."""
        waited_for = {parent for job in self.jobs if job.id not in self._ends for parent in job.dependencies}
        return [job for job in self.jobs if job.id in self._ends or job.id not in waited_for]

    def _tie_ends(self) -> None:
        """Let the jobs that run at the end depend on all others."""
        if self._at_end:
            at_end = {job.id for job in self._at_end}
            others = [job.id for job in self.jobs if job.id not in at_end]
            for job in self._at_end:
                job.dependencies = list(dict.fromkeys([*job.dependencies, *others]))
