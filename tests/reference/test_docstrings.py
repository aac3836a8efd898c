"""The docstrings of the reference page: its sentences are there, to the letter."""

from __future__ import annotations

from typing import Any

import pytest

from gigq import Job, JobQueue, JobStatus, TaskWrapper, Worker, Workflow, close_connections, task

# The sentences of the reference's docstrings; what we add may follow them.
DOCSTRINGS: list[tuple[Any, list[str]]] = [
    (JobStatus, ["Enum representing the possible states of a job."]),
    (Job, ["Represents a job to be executed by the queue system."]),
    (
        Job.__init__,
        [
            "Initialize a new job.",
            "name: A name for the job.",
            "function: The function to execute",
            "params: Parameters to pass to the function.",
            "priority: Job priority (higher numbers executed first).",
            "dependencies: List of job IDs that must complete before this job runs.",
            "max_attempts: Maximum number of execution attempts.",
            "timeout: Maximum runtime in seconds before the job is considered hung",
            "description: Optional description of the job.",
            (
                "pass_parent_results: Whether the worker should inject a ``parent_results`` argument when this job has "
                "dependencies"
            ),
        ],
    ),
    (JobQueue, ["Manages a queue of jobs using SQLite as a backend."]),
    (
        JobQueue.__init__,
        [
            "Initialize the job queue.",
            "db_path: Path to the SQLite database file",
            "initialize: Whether to initialize the database if it doesn't exist.",
        ],
    ),
    (
        JobQueue.submit,
        ["Submit a job to the queue.", "job: The job to submit.", "Returns: The ID of the submitted job."],
    ),
    (
        JobQueue.cancel,
        [
            "Cancel a pending job.",
            "job_id: The ID of the job to cancel.",
            "Returns: True if the job was cancelled, False if it couldn't be cancelled.",
        ],
    ),
    (
        JobQueue.get_status,
        [
            "Get the current status of a job.",
            "job_id: The ID of the job to check.",
            "Returns: A dictionary containing the job's status and related information",
        ],
    ),
    (
        JobQueue.get_result,
        [
            "Get the result value for a job.",
            (
                "This returns the deserialized result for a completed job, or None if the job exists but is not yet "
                "completed or has no stored result. A KeyError is raised if the job does not exist."
            ),
        ],
    ),
    (
        JobQueue.list_jobs,
        [
            "List jobs in the queue, optionally filtered by status.",
            "status: Filter jobs by this status.",
            "limit: Maximum number of jobs to return.",
            "Returns: A list of job dictionaries",
        ],
    ),
    (
        JobQueue.clear_completed,
        [
            "Clear completed jobs from the queue.",
            "before_timestamp: Only clear jobs completed before this timestamp",
            "Returns: Number of jobs cleared.",
        ],
    ),
    (
        JobQueue.requeue_job,
        [
            "Requeue a failed job, resetting its attempts.",
            "job_id: The ID of the job to requeue.",
            "Returns: True if the job was requeued, False if not.",
        ],
    ),
    (Worker, ["A worker that processes jobs from the queue."]),
    (
        Worker.__init__,
        [
            "Initialize a worker.",
            "db_path: Path to the SQLite database file",
            "worker_id: Unique identifier for this worker (auto-generated if not provided).",
            "polling_interval: How often to check for new jobs, in seconds",
        ],
    ),
    (Worker.start, ["Start the worker process."]),
    (Worker.stop, ["Stop the worker process."]),
    (
        Worker.process_one,
        [
            "Process a single job from the queue.",
            "Returns: True if a job was processed, False if no job was available.",
        ],
    ),
    (
        task,
        [
            "Decorator that turns a function into a submittable GigQ task.",
            "Can be used with or without arguments:",
            "@task def my_job(x): return x * 2",
            "@task(timeout=60, max_attempts=5) def my_job(x): return x * 2",
            "Job options (priority, max_attempts, timeout, description, name",
            "are fixed at decoration time. Use .submit(queue, **params) to enqueue.",
        ],
    ),
    (
        TaskWrapper.submit,
        [
            "Create a Job and submit it to the given queue.",
            "queue: A JobQueue instance (positional-only).",
            "**params: Keyword arguments to pass to the wrapped function.",
            "Returns: The job ID.",
        ],
    ),
    (
        TaskWrapper.to_job,
        [
            "Create a Job from this decorated function without submitting it.",
            "**params: Keyword arguments to pass to the wrapped function.",
            "Returns: A Job instance ready for submission or workflow use.",
        ],
    ),
    (Workflow, ["A utility class to help define workflows of dependent jobs."]),
    (Workflow.__init__, ["Initialize a new workflow.", "name: Name of the workflow."]),
    (
        Workflow.add_job,
        [
            "Add a job to the workflow, with optional dependencies.",
            "job: The job to add.",
            "depends_on: List of jobs this job depends on",
            "Returns: The job that was added.",
        ],
    ),
    (
        Workflow.add_task,
        [
            "Add a @task-decorated function to the workflow.",
            (
                "Creates a Job from the decorated function and adds it with optional dependencies. Raises TypeError if "
                "decorated_fn is not a @task-decorated function."
            ),
            "decorated_fn: A function decorated with @task.",
            "params: Parameters to pass to the function.",
            "depends_on: List of jobs this job depends on.",
            "pass_parent_results: If not ``None``, sets ``Job.pass_parent_results``.",
            "Returns: The Job that was created and added.",
        ],
    ),
    (
        Workflow.submit_all,
        [
            "Submit all jobs in the workflow to a queue.",
            "queue: The job queue to submit to.",
            "Returns: List of job IDs that were submitted.",
        ],
    ),
    (Worker._get_connection, ["Gets a connection to the SQLite database with appropriate settings."]),
    (Worker._import_function, ["Dynamically imports a function from a module."]),
    (Worker._claim_job, ["Attempts to claim a job from the queue using an exclusive transaction."]),
    (Worker._complete_job, ["Marks a job as completed or failed."]),
    (Worker._check_for_timeouts, ["Checks for jobs that have timed out and marks them accordingly"]),
    (JobQueue._initialize_db, ["Creates the necessary database tables if they don't exist."]),
    (JobQueue._get_connection, ["Gets a connection to the SQLite database with appropriate settings."]),
    (close_connections, ["Close all SQLite connections for the current thread."]),
]


@pytest.mark.parametrize(
    ("documented", "sentences"), DOCSTRINGS, ids=lambda value: getattr(value, "__qualname__", "")
)
def test_docstrings_say_what_the_reference_says(documented: Any, sentences: list[str]) -> None:
    text = " ".join((documented.__doc__ or "").split())
    missing = [sentence for sentence in sentences if sentence not in text]
    assert not missing
