"""gigq workflow: list, show, graph, retry, cancel."""

from __future__ import annotations

import json
from collections.abc import Callable

import jobs
import pytest
from terminal import Gigq

from gigq import Job, JobQueue, Workflow


@pytest.fixture
def workflow(on_file: JobQueue) -> Workflow:
    """``fail``, and ``below`` it."""
    made = Workflow("nightly")
    bad = made.add_job(Job("fail", jobs.fail, max_attempts=1))
    made.add_job(Job("below", jobs.nothing), [bad])
    made.submit_all(on_file)
    return made


def test_where_there_are_none(gigq: Gigq, on_file: JobQueue) -> None:
    on_file.submit(Job("one", jobs.nothing))
    assert gigq("workflow", "list").out == "No workflows found.\n"
    assert json.loads(gigq("workflow", "list", "--json").out) == []
    for command in ("show", "graph", "retry", "cancel"):
        answer = gigq("workflow", command, "x")
        assert (answer.code, answer.out) == (1, "")
        assert answer.err == "Workflow x not found. See which there are: gigq workflow list\n"


def test_list_and_show(gigq: Gigq, workflow: Workflow, work: Callable[[], None]) -> None:
    head, row = gigq("workflow", "list").out.splitlines()
    assert head.split() == ["ID", "Name", "Status", "Ended", "Jobs", "Created"]
    assert row.split()[:5] == [workflow.id, "nightly", "pending", "0", "2"]
    work()
    lines = gigq("workflow", "show", workflow.id).out.splitlines()
    assert lines[:2] == [f"Workflow: nightly ({workflow.id})", "Status: failed"]
    assert lines[3:] == [
        "Jobs: 2 (1 failed, 1 cancelled)",
        f"  fail ({workflow.jobs[0].id}) failed: ValueError: it broke",
    ]
    shown = json.loads(gigq("workflow", "show", workflow.id[-8:], "--json").out)
    assert (shown["status"], shown["progress"]["failed"]) == ("failed", 1)
    assert json.loads(gigq("workflow", "list", "--json").out) == [shown]
    assert gigq("workflow", "list", "--limit", "0").out == "No workflows found.\n"


def test_graph(gigq: Gigq, workflow: Workflow, work: Callable[[], None]) -> None:
    work()
    assert gigq("workflow", "graph", workflow.id).out.splitlines() == [
        "nightly (2 jobs)",
        "  1  fail   failed",
        "  2  below  cancelled  after fail",
    ]
    assert "flowchart TD" in gigq("workflow", "graph", workflow.id, "--format", "mermaid").out
    assert gigq("workflow", "graph", workflow.id, "--format", "svg").out.startswith("<svg ")
    assert gigq("workflow", "graph", workflow.id, "--format", "png").code == 2


def test_retry(gigq: Gigq, workflow: Workflow, work: Callable[[], None], on_file: JobQueue) -> None:
    work()
    assert gigq("workflow", "retry", workflow.id).out == f"Requeued 1 jobs of workflow {workflow.id}.\n"
    assert on_file.stats()["pending"] == 2
    assert json.loads(gigq("workflow", "retry", workflow.id, "--json").out) == {
        "id": workflow.id,
        "requeued": 0,
    }


def test_cancel_and_bring_back(gigq: Gigq, workflow: Workflow, on_file: JobQueue) -> None:
    assert gigq("workflow", "cancel", workflow.id).out == f"Cancelled 2 jobs of workflow {workflow.id}.\n"
    answer = gigq("workflow", "cancel", workflow.id, "--json")
    assert json.loads(answer.out) == {"id": workflow.id, "cancelled": 0}
    gigq("workflow", "retry", workflow.id, "--cancelled")
    assert on_file.stats()["pending"] == 2


def test_status_of_a_job_names_its_workflow(gigq: Gigq, workflow: Workflow) -> None:
    assert f"Workflow: {workflow.id}" in gigq("status", workflow.jobs[0].id).out.splitlines()


def test_an_id_that_fits_several(gigq: Gigq, workflow: Workflow, on_file: JobQueue) -> None:
    other = Workflow("other")
    other.add_job(Job("one", jobs.nothing))
    other.submit_all(on_file)
    answer = gigq("workflow", "show", workflow.id[:3])
    assert answer.code == 1
    assert "is not one workflow's id, several fit" in answer.err
