"""gigq submit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from terminal import Gigq

from gigq import JobQueue

PROJECT = """
from gigq import task

def plain(a=None, b=None): ...

@task(name="nightly", priority=7, max_attempts=5, timeout=60, description="every night", retry_delay=2)
def decorated(url="x"): ...

@task
def bare(): ...

@task(unique_key="the tasks own")
def alone(): ...

@task(timeout=None)
def endless(): ...

@task(retry="exponential")
def patient(): ...

def strict(url): ...

def spoilt(function):
    import functools

    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function("a connection", *args, **kwargs)

    return inner

@spoilt
def injected(connection, url): ...

nameless = lambda: None
number = 3
"""


@pytest.fixture(autouse=True)
def _project(gigq: Gigq) -> None:
    Path("project_of_submit.py").write_text(PROJECT)


def submitted(gigq: Gigq, db: str, *words: str) -> dict[str, Any]:
    """Submit, and read the job back."""
    answer = gigq("submit", *words)
    assert (answer.code, answer.err) == (0, "")
    word, _, job_id = answer.out.rstrip("\n").rpartition(" ")
    assert word == "Job submitted:"
    return JobQueue(db).get_status(job_id)


def test_a_function_of_the_working_directory_is_submitted_under_its_own_name(gigq: Gigq, db: str) -> None:
    job = submitted(gigq, db, "project_of_submit.plain")
    assert (job["function_module"], job["function_name"]) == ("project_of_submit", "plain")
    assert (job["name"], job["status"]) == ("plain", "pending")
    assert (job["priority"], job["max_attempts"], job["timeout"], job["retry_delay"]) == (0, 3, 300, 0)


def test_every_flag_reaches_the_job(gigq: Gigq, db: str) -> None:
    flags = [
        "--name",
        "n",
        "--priority",
        "-3",
        "--max-attempts",
        "2",
        "--timeout",
        "1.5",
        "--description",
        "d",
        "--retry-delay",
        "0.25",
    ]
    job = submitted(gigq, db, "project_of_submit.plain", *flags)
    assert (job["name"], job["priority"], job["max_attempts"]) == ("n", -3, 2)
    assert (job["timeout"], job["description"], job["retry_delay"]) == (1.5, "d", 0.25)


def test_the_options_of_a_task_are_the_defaults_of_the_flags(gigq: Gigq, db: str) -> None:
    job = submitted(gigq, db, "project_of_submit.decorated", "--priority", "1")
    assert (job["name"], job["priority"], job["max_attempts"]) == ("nightly", 1, 5)
    assert (job["timeout"], job["description"], job["retry_delay"]) == (60, "every night", 2)


def test_no_limit_of_time_can_be_said_and_be_the_tasks_own(gigq: Gigq, db: str) -> None:
    assert submitted(gigq, db, "project_of_submit.plain", "--timeout", "none")["timeout"] is None
    assert submitted(gigq, db, "project_of_submit.endless")["timeout"] is None
    assert submitted(gigq, db, "project_of_submit.endless", "--timeout", "5")["timeout"] == 5


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1", 1),
        ("-2.5", -2.5),
        ("true", True),
        ("null", None),
        ('"1"', "1"),
        ("[1, {}]", [1, {}]),
        ('{"k": "v"}', {"k": "v"}),
        ("text", "text"),
        ("", ""),
        ("a=b", "a=b"),
        ("{broken", "{broken"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("9" * 40, int("9" * 40)),
        ("żółw", "żółw"),
    ],
)
def test_a_value_is_json_if_it_parses_as_json_and_else_the_text_itself(
    gigq: Gigq, db: str, word: str, value: Any
) -> None:
    assert submitted(gigq, db, "project_of_submit.plain", "-p", f"a={word}")["params"] == {"a": value}


def test_parameters_are_collected_and_the_last_of_a_name_counts(gigq: Gigq, db: str) -> None:
    job = submitted(gigq, db, "project_of_submit.plain", "-p", "a=1", "--param", "b=2", "-p", "a=3")
    assert job["params"] == {"a": 3, "b": 2}


def test_json_answers_with_the_id(gigq: Gigq, db: str) -> None:
    answer = gigq("submit", "project_of_submit.bare", "--json")
    assert JobQueue(db).get_status(json.loads(answer.out)["id"])["name"] == "bare"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("project_of_submit.missing", "The module project_of_submit has no missing."),
        ("no_such_module.f", "No module named 'no_such_module'"),
        ("nodot", "module.function"),
        (".f", "module.function"),
        ("project_of_submit.", "module.function"),
        ("project_of_submit.nameless", "lambda"),
        ("project_of_submit.number", "callable"),
        ("broken_project.f", "ZeroDivisionError: division by zero"),
        ("leaving_project.f", "SystemExit: 3"),
    ],
)
def test_what_cannot_be_imported_is_refused_before_anything_is_written(
    gigq: Gigq, db: str, path: str, reason: str
) -> None:
    Path("broken_project.py").write_text("1 / 0")
    Path("leaving_project.py").write_text("raise SystemExit(3)")
    answer = gigq("submit", path, "--name", "n")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(f"Error: Could not import {path}\n")
    assert reason in answer.err
    assert "run gigq in your project's folder" in answer.err
    assert not Path(db).exists()


@pytest.mark.parametrize(
    "words",
    [
        ["-p", "novalue"],
        ["-p", "=1"],
        ["-p", "a=1e999"],
        ["-p", "a=" + "[" * 100_000],
        ["-p", "a=" + "x" * 1_000_001],
        ["--timeout", "0"],
        ["--timeout", "-1"],
        ["--timeout", "inf"],
        ["--timeout", "nan"],
        ["--timeout", "soon"],
        ["--max-attempts", "0"],
        ["--retry-delay", "-1"],
        ["--retry", "soon"],
        ["--retry", "5", "--retry-delay", "5"],
        ["--priority", "high"],
        ["--priority", str(2**63)],
        ["--name", ""],
        ["--nonsense"],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_bad_input_is_a_usage_error_and_nothing_is_written(gigq: Gigq, db: str, words: list[str]) -> None:
    answer = gigq("submit", "project_of_submit.plain", *words)
    assert (answer.code, answer.out) == (2, "")
    assert "Error: " in answer.err
    assert not Path(db).exists()


@pytest.mark.parametrize(
    ("function", "words", "reason"),
    [
        ("strict", [], "missing a required argument: 'url'"),
        ("strict", ["-p", "url=x", "-p", "uri=y"], "unexpected keyword argument 'uri'"),
        ("bare", ["-p", "a=1"], "unexpected keyword argument 'a'"),
    ],
)
def test_parameters_that_the_function_cannot_take_are_refused(
    gigq: Gigq, db: str, function: str, words: list[str], reason: str
) -> None:
    answer = gigq("submit", f"project_of_submit.{function}", *words)
    assert (answer.code, answer.out) == (1, "")
    assert reason in answer.err
    assert "-p key=value" in answer.err
    assert not Path(db).exists()


def test_a_decorator_that_adds_arguments_is_not_in_the_way(gigq: Gigq, db: str) -> None:
    assert submitted(gigq, db, "project_of_submit.injected", "-p", "url=x")["params"] == {"url": "x"}


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("30", {"delay": 30}),
        ("1,5,60", {"delays": [1, 5, 60]}),
        ("exponential:base=2,jitter=no", {"base": 2, "factor": 2, "cap": 3600, "jitter": False}),
        ("project_of_submit.plain", {"call": "project_of_submit.plain"}),
    ],
)
def test_a_retry_policy_is_given_as_text(gigq: Gigq, db: str, text: str, policy: dict[str, Any]) -> None:
    assert submitted(gigq, db, "project_of_submit.plain", "--retry", text)["retry"] == policy


def test_a_retry_flag_takes_the_place_of_what_the_task_declares(gigq: Gigq, db: str) -> None:
    job = submitted(gigq, db, "project_of_submit.decorated", "--retry", "1,5")
    assert (job["retry"], job["retry_delay"]) == ({"delays": [1, 5]}, 0)
    job = submitted(gigq, db, "project_of_submit.patient", "--retry-delay", "3")
    assert (job["retry"], job["retry_delay"]) == (None, 3)


def test_a_unique_job_is_submitted_once_and_the_second_answer_names_it(gigq: Gigq, db: str) -> None:
    words = ["project_of_submit.plain", "-p", "a=1", "-p", "b=2", "--unique"]
    job = submitted(gigq, db, *words)
    turned = ["project_of_submit.plain", "-p", "b=2", "-p", "a=1", "--unique"]
    answer = gigq("submit", *turned)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"Job not submitted, its unique key is taken by: {job['id']}\n"
    assert json.loads(gigq("--json", "submit", *turned).out) == {"id": job["id"], "submitted": False}
    assert submitted(gigq, db, *words[:-3], "--unique")["id"] != job["id"]


def test_a_unique_key_is_given_or_the_tasks_own(gigq: Gigq, db: str) -> None:
    assert submitted(gigq, db, "project_of_submit.plain", "--unique-key", "k")["unique_key"] == "k"
    assert "not submitted" in gigq("submit", "project_of_submit.bare", "--unique-key", "k").out
    assert submitted(gigq, db, "project_of_submit.alone", "--unique")["unique_key"] == "the tasks own"
    answer = gigq("submit", "project_of_submit.plain", "--unique-key", "")
    assert (answer.code != 0, "unique_key" in answer.err, answer.out) == (True, True, "")
