"""The names and signatures of the reference page, to the letter."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import gigq
from gigq import Job, JobQueue, TaskWrapper, Worker, Workflow, task

NAMES = [
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

NONE = inspect.Parameter.empty
"""No default."""

# Name and default of each parameter that may be given by position, in the order of the reference and gigq 0.5.1.
SIGNATURES: list[tuple[Callable[..., Any], list[tuple[str, Any]]]] = [
    (
        Job.__init__,
        [
            ("name", NONE),
            ("function", NONE),
            ("params", None),
            ("priority", 0),
            ("dependencies", None),
            ("max_attempts", 3),
            ("timeout", 300),
            ("description", ""),
            ("pass_parent_results", None),
            ("retry_delay", 0),
        ],
    ),
    (JobQueue.__init__, [("db_path", NONE), ("initialize", True)]),
    (JobQueue.submit, [("job", NONE)]),
    (JobQueue.cancel, [("job_id", NONE)]),
    (JobQueue.get_status, [("job_id", NONE)]),
    (JobQueue.get_result, [("job_id", NONE)]),
    (JobQueue.list_jobs, [("status", None), ("limit", 100)]),
    (JobQueue.clear_completed, [("before_timestamp", None)]),
    (JobQueue.requeue_job, [("job_id", NONE)]),
    (JobQueue.stats, []),
    (JobQueue.close, []),
    (JobQueue._get_connection, []),
    (JobQueue._initialize_db, []),
    (
        Worker.__init__,
        [("db_path", NONE), ("worker_id", None), ("polling_interval", 5), ("concurrency", 1)],
    ),
    (Worker.start, []),
    (Worker.process_one, []),
    (Worker.close, []),
    (Worker._get_connection, []),
    (Worker._import_function, [("module_name", NONE), ("function_name", NONE)]),
    (Worker._claim_job, []),
    (
        Worker._complete_job,
        [("job_id", NONE), ("execution_id", NONE), ("status", NONE), ("result", None), ("error", None)],
    ),
    (Worker._check_for_timeouts, []),
    (task, [("fn", None)]),
    (TaskWrapper.submit, [("queue", NONE)]),
    (TaskWrapper.to_job, []),
    (Workflow.__init__, [("name", NONE)]),
    (Workflow.add_job, [("job", NONE), ("depends_on", None)]),
    (
        Workflow.add_task,
        [("decorated_fn", NONE), ("params", None), ("depends_on", None), ("pass_parent_results", None)],
    ),
    (Workflow.submit_all, [("queue", NONE)]),
    (gigq.close_connections, []),
]

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def called(function: Any) -> str:
    return function.__qualname__ if hasattr(function, "__qualname__") else ""


def test_the_exported_names_are_exactly_these() -> None:
    assert sorted(gigq.__all__) == sorted(NAMES)
    assert len(set(gigq.__all__)) == len(gigq.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(importlib.import_module("gigq"), name).__name__ == name


def test_a_star_import_brings_them_all() -> None:
    code = "from gigq import *; print(sorted(name for name in dir() if not name.startswith('_')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(sorted(NAMES))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = gigq.no_such_name


def test_the_version_is_that_of_the_package() -> None:
    from gigq import __version__

    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", __version__)


@pytest.mark.parametrize(("function", "expected"), SIGNATURES, ids=called)
def test_parameters_have_the_order_and_the_defaults_of_the_reference(
    function: Callable[..., Any], expected: list[tuple[str, Any]]
) -> None:
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    assert [(p.name, p.default) for p in parameters if p.kind in POSITIONAL] == expected


@pytest.mark.parametrize(("function", "_expected"), SIGNATURES, ids=called)
def test_parameters_beyond_the_reference_are_keyword_only_and_optional(
    function: Callable[..., Any], _expected: object
) -> None:
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert parameter.default is not NONE, parameter


def test_the_queue_of_a_task_is_positional_only_so_that_a_function_may_have_a_parameter_of_that_name() -> (
    None
):
    parameters = inspect.signature(TaskWrapper.submit).parameters
    assert parameters["queue"].kind is inspect.Parameter.POSITIONAL_ONLY
    assert parameters["params"].kind is inspect.Parameter.VAR_KEYWORD
    assert inspect.signature(TaskWrapper.to_job).parameters["params"].kind is inspect.Parameter.VAR_KEYWORD
    assert inspect.signature(task).parameters["options"].kind is inspect.Parameter.VAR_KEYWORD


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        ("InvalidJob", ["GigQError", "ValueError"]),
        ("DuplicateJob", ["InvalidJob"]),
        ("UnknownParent", ["InvalidJob"]),
        ("DependencyCycle", ["InvalidJob"]),
        ("InvalidValue", ["InvalidJob"]),
        ("StoreError", ["GigQError"]),
        ("StoreMissing", ["StoreError"]),
        ("StoreUnusable", ["StoreError"]),
        ("StoreVersion", ["StoreError"]),
        ("StoreBusy", ["StoreError"]),
        ("StoreFull", ["StoreError"]),
        ("StoreReplaced", ["StoreError"]),
        ("WorkerFailed", ["GigQError"]),
        ("TooManyAbandoned", ["WorkerFailed"]),
        ("JobError", ["GigQError"]),
        ("FunctionUnavailable", ["JobError"]),
        ("ParentResultsTooLarge", ["JobError"]),
        ("Retry", ["JobError"]),
        ("Snooze", ["JobError"]),
        ("RateLimited", ["Snooze"]),
        ("Fail", ["JobError"]),
        ("Cancel", ["JobError"]),
    ],
)
def test_every_error_derives_from_gigq_error(error: str, kinds: list[str]) -> None:
    known = {**vars(gigq), "ValueError": ValueError}
    for kind in (*kinds, "GigQError"):
        assert issubclass(known[error], known[kind])


@pytest.mark.skipif(importlib.util.find_spec("gigq.cli") is None, reason="there is no command line yet")
def test_the_command_line_can_be_called_from_python() -> None:
    main = importlib.import_module("gigq.cli").main
    (argv,) = inspect.signature(main).parameters.values()
    assert (argv.name, argv.default) == ("argv", None)
