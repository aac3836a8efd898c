"""Retry policies at work: how long a failed job waits, and after which errors it does not come again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import controls
import executions
import jobs
import pytest
from clocks import TurnedClock
from processes import PATIENCE, in_a_thread, wait_until
from processes import run as run_python

from gigq import Exponential, Job, JobQueue, Worker, retry, task
from gigq.clock import from_iso

Run = Callable[[list[Job]], dict[str, dict[str, Any]]]


@pytest.fixture
def most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance has it that every delay is as long as it may be."""
    monkeypatch.setattr(retry, "_uniform", lambda low, high: high)


def due_in(record: dict[str, Any]) -> float | None:
    """Seconds from the end of the last run until the next."""
    if record["retry_after"] is None:
        return None
    ended = record["executions"][-1]["completed_at"]
    return round((from_iso(record["retry_after"]) - from_iso(ended)) / 1e6, 6)


def delays(queue: JobQueue, worker: Worker, clock: TurnedClock, job: Job) -> list[float | None]:
    """How long it waits after each run, until it has ended."""
    queue.submit(job)
    found = []
    while queue.get_status(job.id)["status"] == "pending":
        assert worker.process_one()
        record = queue.get_status(job.id)
        found.append(due_in(record))
        if record["retry_after"]:
            clock.turn((from_iso(record["retry_after"]) - clock.now()) / 1e6)
    assert queue.get_status(job.id)["status"] == "failed"
    return found


@pytest.mark.usefixtures("most")
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (30, [30, 30, 30, None]),
        (0, [None, None, None, None]),
        ([1, 5], [1, 5, 5, None]),
        (Exponential(base=2, factor=3, cap=10), [2, 6, 10, None]),
        (Exponential(base=2, factor=3, jitter=False), [2, 6, 18, None]),
        (controls.by_attempt, [20, 40, 60, None]),
        ("controls.by_attempt", [20, 40, 60, None]),
        ("7,8", [7, 8, 8, None]),
    ],
)
def test_a_policy_says_how_long_each_attempt_waits(
    queue: JobQueue, worker: Worker, clock: TurnedClock, policy: Any, expected: list[Any]
) -> None:
    job = Job("one", jobs.fail, max_attempts=4, retry=policy)
    assert delays(queue, worker, clock, job) == expected


def test_policies_work_wherever_the_function_runs(run: Run) -> None:
    fixed = Exponential(base=50, jitter=False)
    records = run(
        [
            Job("number", jobs.fail, retry=70),
            Job("list", jobs.fail, retry=[80, 1]),
            Job("growing", jobs.fail, retry=fixed),
            Job("function", jobs.fail, retry=controls.by_attempt),
            Job("gives up", executions.exit_in_a_coroutine, retry=controls.by_attempt),
            Job("fails", jobs.fail, retry=70, fail_on=ValueError),
            Job("spared", jobs.fail, retry=70, retry_on=OSError),
            Job("tried", controls.answer_oddly, retry=70, retry_on=[OSError, controls.HTTPError]),
            Job("by name", controls.answer_oddly, retry=70, fail_on=["controls.HTTPError"]),
            Job("asked", controls.answer, {"headers": {"Retry-After": "90"}}, retry=fixed),
        ]
    )
    found = {name: (record["status"], due_in(record)) for name, record in records.items()}
    assert found == {
        "number": ("pending", 70),
        "list": ("pending", 80),
        "growing": ("pending", 50),
        "function": ("pending", 20),
        "gives up": ("failed", None),
        "fails": ("failed", None),
        "spared": ("failed", None),
        "tried": ("pending", 70),
        "by name": ("failed", None),
        "asked": ("pending", 90),
    }
    assert "asked 1 ValueError 1" in records["function"]["executions"][0]["output"]
    for name, told in {
        "gives up": "not tried again: the retry policy controls.by_attempt gave it up",
        "fails": "not tried again: ValueError is among fail_on",
        "spared": "not tried again: it is none of retry_on (OSError)",
        "by name": "not tried again: controls.HTTPError is among fail_on",
    }.items():
        assert records[name]["error"].endswith(f"\n\ngigq: {told}\n"), name
        assert records[name]["attempts"] == 1


# -- errors ------------------------------------------------------------------------------------------------------

CASES: list[tuple[Any, dict[str, Any], str]] = [
    (jobs.fail, {"retry_on": ValueError}, "pending"),
    (jobs.fail, {"retry_on": Exception}, "pending"),
    (jobs.fail, {"retry_on": ["builtins.ValueError"]}, "pending"),
    (jobs.fail, {"retry_on": [KeyError, "ValueError"], "fail_on": LookupError}, "pending"),
    (jobs.fail, {"retry_on": Exception, "fail_on": ValueError}, "failed"),
    (jobs.fail, {"fail_on": [KeyError]}, "pending"),
    (jobs.fail, {"retry_on": "no.such.module.Error"}, "failed"),
    (jobs.fail, {"fail_on": "no.such.module.Error"}, "pending"),
    (jobs.fail, {"fail_on": "controls.NoSuchError"}, "pending"),
    (jobs.fail, {"fail_on": controls.Unaskable}, "pending"),
    (jobs.fail, {"retry_on": [controls.Unaskable, ValueError]}, "pending"),
    (controls.answer_oddly, {"retry_on": controls.HTTPError}, "pending"),
    (controls.answer_oddly, {"retry_on": OSError}, "failed"),
    (controls.answer_oddly, {"fail_on": controls.Anything}, "pending"),
]


@pytest.mark.parametrize(("function", "options", "status"), CASES)
def test_errors_are_matched_as_isinstance_does(
    queue: JobQueue, worker: Worker, function: Any, options: dict[str, Any], status: str
) -> None:
    job = queue.submit(Job("one", function, **options))
    assert worker.process_one()
    assert queue.get_status(job)["status"] == status


def test_a_class_may_say_by_itself_what_its_instances_are(queue: JobQueue, worker: Worker) -> None:
    job = queue.submit(Job("one", jobs.fail, {"message": "virtual"}, fail_on=controls.Anything))
    worker.process_one()
    assert queue.get_status(job)["status"] == "failed"


def test_a_class_that_cannot_be_asked_is_told_of(queue: JobQueue, worker: Worker) -> None:
    fail_on = ["no.such.Error", controls.Unaskable]
    job = queue.submit(Job("one", jobs.fail, fail_on=fail_on))  # type: ignore[arg-type]
    worker.process_one()
    error = queue.get_status(job)["error"]
    assert (
        "gigq: fail_on: no.such.Error cannot be asked: gigq.errors.FunctionUnavailable: no module named"
        in error
    )
    assert "gigq: fail_on: controls.Unaskable cannot be asked: SystemExit: no" in error
    assert error.startswith("ValueError: it broke\n")


def test_what_a_function_raises_on_purpose_is_not_compared(queue: JobQueue, worker: Worker) -> None:
    """It has said what is to happen."""
    options: dict[str, Any] = {"retry_on": OSError, "fail_on": Exception, "retry": 5}
    kinds = ["retry", "retry at once", "snooze"]
    made = [Job(kind, controls.say, {"kind": kind}, **options) for kind in kinds]
    queue.submit_many(made)
    for _ in made:
        worker.process_one()
    assert [due_in(queue.get_status(job.id)) for job in made] == [60, 5, 120]


def test_a_missing_module_is_no_error_of_the_function(queue: JobQueue, worker: Worker) -> None:
    job = queue.submit(Job("one", "no_such_module.f", fail_on=Exception, retry=controls.breaks))
    assert worker.process_one()
    record = queue.get_status(job)
    assert (record["status"], record["held_by"], record["attempts"]) == (
        "pending",
        "import:no_such_module",
        0,
    )


# -- functions ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("most")
@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (controls.breaks, "the retry policy controls.breaks failed: LookupError: the policy broke"),
        (controls.exits, "the retry policy controls.exits failed: SystemExit: 3"),
        (controls.says_nonsense, "the retry policy controls.says_nonsense returned no seconds, but 'soon'"),
        ("controls.no_such", "the retry policy controls.no_such failed: gigq.errors.FunctionUnavailable: "),
        ("no_such.policy", "the retry policy no_such.policy failed: gigq.errors.FunctionUnavailable: "),
    ],
)
def test_a_function_that_gives_no_answer_is_told_of_and_the_default_waits(
    queue: JobQueue, worker: Worker, clock: TurnedClock, policy: Any, told: str
) -> None:
    job = Job("one", jobs.fail, max_attempts=3, retry=policy)
    assert delays(queue, worker, clock, job) == [1, 2, None]
    runs = queue.get_status(job.id)["executions"]
    assert all(run["error"].startswith("ValueError: it broke\n") for run in runs)
    assert all(f"\n\ngigq: {told}" in run["error"] for run in runs[:-1])
    assert "gigq:" not in runs[-1]["error"], "nobody is asked about the last attempt"


def test_ctrl_c_in_a_function_that_is_asked_is_the_users(queue: JobQueue, worker: Worker) -> None:
    job = queue.submit(Job("one", jobs.fail, retry=controls.interrupts))
    with pytest.raises(KeyboardInterrupt):
        worker.process_one()
    record = queue.get_status(job)
    assert (record["status"], record["attempts"]) == ("pending", 0)
    assert [run["status"] for run in record["executions"]] == ["released"]


def test_what_a_script_defines_is_found_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from gigq import Job, JobQueue\n"
        "class Mine(Exception): ...\n"
        "class Other(Exception): ...\n"
        "def policy(attempt, error): return 33 if isinstance(error, Mine) else None\n"
        "def fail(kind): raise (Mine if kind == 'mine' else Other)('x')\n"
        "queue = JobQueue('jobs.db')\n"
        "for kind in ('mine', 'other'):\n"
        "    queue.submit(Job(kind, fail, {'kind': kind}, retry=policy, retry_on=Mine))\n"
    )
    run_python("script.py", cwd=tmp_path)
    worker = Worker(str(tmp_path / "jobs.db"))
    while worker.process_one():
        pass
    worker.close()
    found = {job["name"]: job for job in JobQueue(str(tmp_path / "jobs.db")).list_jobs()}
    assert (found["mine"]["status"], found["other"]["status"]) == ("pending", "failed")


# -- where no function is left to be asked -----------------------------------------------------------------------


@pytest.mark.usefixtures("most")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"retry": [40, 1]}, 40),
        ({"retry": Exponential(base=50)}, 50),
        ({"retry": controls.breaks}, 1),
        ({"retry_delay": 6, "fail_on": [TimeoutError, BaseException]}, 6),
        ({"retry_on": OSError}, None),
    ],
)
def test_after_a_timeout_nobody_is_asked_and_no_error_compared(
    queue: JobQueue, worker: Worker, clock: TurnedClock, options: dict[str, Any], expected: float | None
) -> None:
    job = queue.submit(Job("one", jobs.nothing, timeout=10, **options))
    assert worker._claim_job() is not None
    clock.turn(11)
    assert worker._check_for_timeouts() == 1
    record = queue.get_status(job)
    assert (record["status"], record["attempts"], due_in(record)) == ("pending", 1, expected)


def test_a_child_that_is_stopped_at_its_timeout_asks_nobody(db: str) -> None:
    """The exception that asks a function to stop is none of its own."""
    queue = JobQueue(db)
    job = queue.submit(Job("one", executions.sleep_long, timeout=0.1, retry=controls.by_attempt))
    worker = Worker(queue, executor="process")
    thread = in_a_thread(worker)
    wait_until(
        lambda: [run for run in queue.get_status(job)["executions"] if run["status"] == "timeout"],
        "it is stopped",
    )
    worker.stop()
    thread.join(PATIENCE)
    run = queue.get_status(job)["executions"][0]
    assert "gigq:" not in run["error"]
    assert "asked" not in run["output"]


# -- Retry-After -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "headers", "expected"),
    [
        (5, {"Retry-After": "90"}, 90),
        (500, {"Retry-After": "90"}, 500),
        ([5], {"Retry-After": "90"}, 90),
        (5, {"Retry-After": "1" + "0" * 30}, 86_400),
        (5, {"Retry-After": "nonsense"}, 5),
        (5, {}, 5),
        (Exponential(5, jitter=False, respect_retry_after=False), {"Retry-After": "90"}, 5),
        (None, {"Retry-After": "90"}, 3),
    ],
)
def test_a_policy_waits_at_least_as_long_as_the_server_asks(
    queue: JobQueue, worker: Worker, policy: Any, headers: dict[str, str], expected: float
) -> None:
    job = Job("one", controls.answer, {"headers": headers}, retry=policy, retry_delay=0 if policy else 3)
    queue.submit(job)
    worker.process_one()
    assert due_in(queue.get_status(job.id)) == expected


# -- the reference -----------------------------------------------------------------------------------------------


def test_retry_delay_is_as_before(queue: JobQueue, worker: Worker, clock: TurnedClock) -> None:
    declared = task(retry_delay=4, max_attempts=3)(jobs.fail)
    assert delays(queue, worker, clock, declared.to_job()) == [4, 4, None]
    assert queue.list_jobs()[0]["retry"] is None
