"""The law as a value: what may follow what, and the one decision about retries."""

from __future__ import annotations

import typing
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gigq.status import (
    CLEARABLE,
    ENDED_BADLY,
    TERMINAL,
    TRANSITIONS,
    Decision,
    End,
    JobStatus,
    Move,
    RunStatus,
    heed_stop,
    settle,
)

NOW = 1_000_000_000
ENDS: tuple[End, ...] = typing.get_args(End)
CHARGED: tuple[End, ...] = ("returned", "unstorable", "raised", "fatal", "timeout", "cancelled")
STARTED: tuple[End, ...] = (*CHARGED, "died", "stopped", "snoozed")


@dataclass
class Job:
    attempts: int = 0
    crashes: int = 0
    max_attempts: int = 3
    max_crashes: int = 3
    retry_delay: int = 0
    deadline_at: int | None = None


JOBS = st.builds(
    Job,
    attempts=st.integers(0, 5),
    crashes=st.integers(0, 5),
    max_attempts=st.integers(1, 5),
    max_crashes=st.integers(1, 5),
    retry_delay=st.integers(0, 10_000_000),
)
ANY_END = st.sampled_from(ENDS)
ANY_DELAY = st.none() | st.integers(0, 10_000_000)


def charges(decision: Decision) -> tuple[int, int]:
    return decision.attempts, decision.crashes


def test_the_transitions_are_those_of_the_architecture() -> None:
    words = {
        move: ({state.value for state in sources}, {state.value for state in targets})
        for move, (sources, targets) in TRANSITIONS.items()
    }
    assert words == {
        "claim": ({"pending"}, {"running"}),
        "settle": ({"running"}, {"completed", "failed", "timeout", "cancelled", "pending"}),
        "cancel": ({"pending"}, {"cancelled"}),
        "expire": ({"pending"}, {"cancelled", "timeout"}),
        "hold_expires": ({"pending"}, {"failed"}),
        "requeue": ({"failed", "timeout", "cancelled"}, {"pending"}),
        "give_way": ({"failed", "timeout", "cancelled"}, {"cancelled"}),
    }
    assert set(TRANSITIONS) == set(typing.get_args(Move))


def test_every_state_can_be_reached_and_every_state_can_be_left_but_completed() -> None:
    reached = {JobStatus.PENDING}.union(*(targets for _, targets in TRANSITIONS.values()))
    left = set[JobStatus]().union(*(sources for sources, _ in TRANSITIONS.values()))
    assert reached == set(JobStatus)
    assert set(JobStatus) - left == {JobStatus.COMPLETED}


def test_an_end_is_good_or_bad() -> None:
    assert {JobStatus.COMPLETED} == TERMINAL - ENDED_BADLY
    assert set(JobStatus) - TERMINAL == {JobStatus.PENDING, JobStatus.RUNNING}
    assert {JobStatus.COMPLETED, JobStatus.CANCELLED} == CLEARABLE


@given(ANY_END, JOBS)
def test_whatever_is_decided_is_a_transition(end: End, job: Job) -> None:
    decision = settle(end, job, NOW, "why", "module")
    assert decision.status in TRANSITIONS["settle"][1]
    assert decision.run in (None, *typing.get_args(RunStatus))


@given(ANY_END, JOBS)
def test_a_run_is_charged_once_at_most(end: End, job: Job) -> None:
    expected = (1, 0) if end in CHARGED else (0, 1) if end == "died" else (0, 0)
    assert charges(settle(end, job, NOW)) == expected


@given(ANY_END, JOBS)
def test_only_what_started_is_in_the_history(end: End, job: Job) -> None:
    assert (settle(end, job, NOW).run is not None) == (end in STARTED)


@given(ANY_END, JOBS)
def test_only_a_pending_job_waits_for_something(end: End, job: Job) -> None:
    decision = settle(end, job, NOW, "why", "module")
    if decision.status is not JobStatus.PENDING:
        assert (decision.due_at, decision.held_by) == (None, None)


@given(JOBS)
def test_a_job_that_returned_is_completed_whatever_came_before(job: Job) -> None:
    decision = settle("returned", job, NOW)
    assert (decision.status, decision.run, decision.error) == (JobStatus.COMPLETED, "completed", None)


@given(JOBS)
def test_a_result_that_cannot_be_stored_is_not_computed_again(job: Job) -> None:
    decision = settle("unstorable", job, NOW, "why")
    assert (decision.status, decision.run, decision.error) == (JobStatus.FAILED, "failed", "why")


@pytest.mark.parametrize(
    ("end", "final", "run"),
    [("raised", JobStatus.FAILED, "failed"), ("timeout", JobStatus.TIMEOUT, "timeout")],
)
@given(job=JOBS)
def test_attempts_are_repeated_until_they_are_used_up(
    end: End, final: JobStatus, run: RunStatus, job: Job
) -> None:
    decision = settle(end, job, NOW, "why")
    again = job.attempts + 1 < job.max_attempts
    assert decision.status is (JobStatus.PENDING if again else final)
    assert (decision.run, decision.error) == (run, "why")
    assert decision.due_at == (NOW + job.retry_delay if again and job.retry_delay else None)


@pytest.mark.parametrize(("end", "final"), [("raised", JobStatus.FAILED), ("timeout", JobStatus.TIMEOUT)])
@given(job=JOBS, left=st.integers(-1_000_000, 20_000_000))
def test_nothing_is_tried_again_at_or_after_its_deadline(
    end: End, final: JobStatus, job: Job, left: int
) -> None:
    job.deadline_at = NOW + left
    decision = settle(end, job, NOW, "why")
    in_time = job.retry_delay < left
    again = job.attempts + 1 < job.max_attempts and in_time
    assert decision.status is (JobStatus.PENDING if again else final)
    assert decision.error is not None
    assert decision.error.startswith("why")
    assert ("deadline" in decision.error) == (not in_time and job.attempts + 1 < job.max_attempts)


@given(st.sampled_from(["raised", "timeout", "snoozed", "unstarted"]), JOBS, st.integers(0, 10_000_000))
def test_a_delay_of_its_own_takes_the_place_of_the_declared_one(end: End, job: Job, delay: int) -> None:
    decision = settle(end, job, NOW, delay=delay)
    if decision.status is JobStatus.PENDING:
        assert decision.due_at == (NOW + delay if delay else None)


@given(st.sampled_from(["died", "stopped", "hindered", "unavailable"]), JOBS, ANY_DELAY)
def test_what_says_nothing_of_a_delay_is_not_delayed_by_one(end: End, job: Job, delay: int | None) -> None:
    assert settle(end, job, NOW, "why", "module", delay) == settle(end, job, NOW, "why", "module")


@given(JOBS, ANY_DELAY)
def test_what_is_fatal_fails_at_once(job: Job, delay: int | None) -> None:
    decision = settle("fatal", job, NOW, "why", delay=delay)
    assert decision == Decision(JobStatus.FAILED, "failed", attempts=1, error="why")


@given(JOBS, st.integers(1, 10_000_000))
def test_a_snooze_costs_nothing_and_comes_again_whatever_the_budgets(job: Job, delay: int) -> None:
    decision = settle("snoozed", job, NOW, "why", delay=delay)
    assert decision == Decision(JobStatus.PENDING, "snoozed", due_at=NOW + delay, error="why")


@given(ANY_END, JOBS, ANY_DELAY, st.none() | st.just("why"))
def test_a_job_that_was_asked_to_stop_never_runs_again(
    end: End, job: Job, delay: int | None, error: str | None
) -> None:
    before = settle(end, job, NOW, error, "module", delay)
    after = heed_stop(before)
    if before.status is not JobStatus.PENDING:
        assert after == before
        return
    assert (after.status, after.due_at, after.held_by) == (JobStatus.CANCELLED, None, None)
    assert (after.run, after.attempts, after.crashes) == (before.run, before.attempts, before.crashes)
    assert after.error == ("cancelled while it ran (why)" if before.error else "cancelled while it ran")


@given(JOBS)
def test_a_crash_is_repeated_at_once_until_its_own_budget_is_used_up(job: Job) -> None:
    decision = settle("died", job, NOW, "killed by signal 9")
    final = job.max_attempts == 1 or job.crashes + 1 >= job.max_crashes
    assert decision.status is (JobStatus.FAILED if final else JobStatus.PENDING)
    assert (decision.run, decision.due_at) == ("crashed", None)
    assert decision.error is not None
    assert "killed by signal 9" in decision.error


@given(ANY_END, JOBS)
def test_max_attempts_1_means_one_start_ever(end: End, job: Job) -> None:
    job.attempts, job.max_attempts = 0, 1
    decision = settle(end, job, NOW, "why", "module")
    own_word = end == "snoozed"
    assert (decision.status is JobStatus.PENDING) == (own_word or end not in STARTED)


@pytest.mark.parametrize("end", ["died", "stopped"])
def test_a_job_of_one_start_says_why_it_is_not_started_again(end: End) -> None:
    error = settle(end, Job(max_attempts=1), NOW).error
    assert error is not None
    assert "while it ran; not started again because max_attempts=1" in error


def test_a_job_of_one_start_that_died_says_so_in_the_words_of_the_contract() -> None:
    error = settle("died", Job(max_attempts=1), NOW).error
    assert error == "died while it ran; not started again because max_attempts=1"


@given(JOBS)
def test_what_did_not_start_goes_back_at_once(job: Job) -> None:
    assert settle("unstarted", job, NOW) == Decision(JobStatus.PENDING, None)


@given(JOBS)
def test_a_shutdown_gives_back_what_was_running(job: Job) -> None:
    job.max_attempts += 1
    decision = settle("stopped", job, NOW)
    assert (decision.status, decision.run, decision.due_at) == (JobStatus.PENDING, "released", None)


@given(JOBS)
def test_a_missing_module_holds_the_job(job: Job) -> None:
    decision = settle("unavailable", job, NOW, "no module named reports", "reports")
    assert (decision.status, decision.held_by) == (JobStatus.PENDING, "import:reports")
    assert decision.error == "no module named reports"


@given(JOBS)
def test_a_job_does_not_run_for_ever(job: Job) -> None:
    """Whatever happens to it, one of the two budgets runs out."""
    job.attempts = job.crashes = 0
    for start in range(job.max_attempts + job.max_crashes):
        decision = settle("raised" if start % 2 else "died", job, NOW)
        job.attempts += decision.attempts
        job.crashes += decision.crashes
        if decision.status is JobStatus.FAILED:
            return
    pytest.fail(f"{job} goes on after every attempt and crash")
