"""Graphs drawn as text, Mermaid and SVG."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import flow_jobs
import jobs
import pytest

from gigq import InvalidJob, Job, JobQueue, Worker, Workflow
from gigq.drawing import FORMS, Node, draw

SVG = "{http://www.w3.org/2000/svg}"


def boxes(svg: str) -> list[str]:
    """The texts of the boxes, from top to bottom and left to right."""
    root = ET.fromstring(svg)
    rects = root.findall(f"{SVG}rect")
    assert all(float(rect.get("x", "-1")) >= 0 for rect in rects)
    return [text.text or "" for text in root.findall(f"{SVG}text")[1:]]


def pipeline(wide: int) -> Workflow:
    workflow = Workflow("nightly")
    top = workflow.add_job(Job("download", jobs.nothing))
    middle = [workflow.add_job(Job("process", jobs.nothing), [top]) for _ in range(wide)]
    workflow.add_job(Job("report", jobs.nothing), middle)
    return workflow


def test_as_text_before_it_is_submitted() -> None:
    assert pipeline(2).draw().splitlines() == [
        "nightly (4 jobs)",
        "  1  download",
        "  2  process   after download",
        "  2  process   after download",
        "  3  report    after process, process",
    ]


def test_a_thousand_siblings_are_one_box() -> None:
    assert pipeline(1000).draw().splitlines() == [
        "nightly (1,002 jobs)",
        "  1  download",
        "  2  process (1,000 jobs)  after download",
        "  3  report                after process (1,000 jobs)",
    ]
    assert boxes(pipeline(1000).draw("svg")) == ["download", "process (1,000 jobs)", "report"]


def test_of_a_submitted_one_with_the_statuses(queue: JobQueue) -> None:
    workflow = pipeline(5)
    workflow.jobs[1].function = jobs.fail
    workflow.jobs[1].max_attempts = 1
    workflow.submit_all(queue)
    worker = Worker(queue)
    for _ in range(4):
        worker.process_one()
    worker.close()
    found = queue.workflow(workflow.id)
    assert found.draw().splitlines() == [
        "nightly (7 jobs)",
        "  1  download          completed",
        "  2  process (5 jobs)  2 completed, 2 pending, 1 failed  after download",
        "  3  report            cancelled                         after process (5 jobs)",
    ]
    mermaid = found.draw("mermaid").splitlines()
    assert mermaid[3] == "flowchart TD"
    assert mermaid[4:9] == [
        '    n0["download<br/>completed"]:::completed',
        '    n1["process (5 jobs)<br/>2 completed, 2 pending, 1 failed"]:::failed',
        '    n2["report<br/>cancelled"]:::cancelled',
        "    n0 --> n1",
        "    n1 --> n2",
    ]
    assert {line.split()[1] for line in mermaid[9:]} == {"completed", "failed", "cancelled"}
    assert boxes(found.draw("svg"))[2:4] == ["process (5 jobs)", "2 completed, 2 pending, 1 failed"]


def test_a_map_that_was_unfolded_in_pieces_is_drawn_as_one(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gigq.worker.unfold._AT_ONCE", 4)
    workflow = Workflow("w")
    source = workflow.add_task(flow_jobs.numbers, {"n": 10})
    workflow.map(flow_jobs.double, over=source)
    workflow.run(queue)
    assert queue.workflow(workflow.id).draw().splitlines()[1:] == [
        "  1  numbers           completed",
        "  2  double: unfold    completed     after numbers",
        "  3  double (10 jobs)  10 completed  after double: unfold",
        "  4  double            completed     after double (10 jobs)",
    ]


def test_an_edge_that_a_longer_way_stands_for_is_left_out() -> None:
    nodes = [
        Node("a", "a", None, []),
        Node("b", "b", None, ["a"]),
        Node("c", "c", None, ["a", "b", "elsewhere"]),
    ]
    assert draw("t", nodes).splitlines()[-1] == "  3  c  after b"


def test_a_circle_can_be_drawn_too() -> None:
    """It is refused when it is submitted; a drawing helps to see why."""
    nodes = [Node("a", "a", None, ["c"]), Node("b", "b", None, ["a"]), Node("c", "c", None, ["b"])]
    for form in FORMS:
        assert "b" in draw("t", nodes, form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "nodes",
    [
        [],
        [Node(str(n), f"job {n}", None, [str(n - 1)]) for n in range(1000)],
        [Node(str(n), f"job {n}", "pending", [str(n // 3)] if n else []) for n in range(3000)],
        [Node(str(n), "same", "pending", []) for n in range(20_000)],
    ],
    ids=["none", "a chain", "a tree", "a crowd"],
)
def test_a_drawing_of_any_graph_is_bounded(form: Any, nodes: list[Node]) -> None:
    drawn = draw("t", nodes, form)
    assert len(drawn) < 120_000
    assert f"t ({len(nodes):,} jobs)" in drawn


HOSTILE = '<script>alert("x")</script>\x1b[31m\n"]; end & `| ]] --> \u202e\x00'


def test_hostile_names_do_no_harm() -> None:
    nodes = [Node("a", HOSTILE, "failed", [])]
    text = draw(HOSTILE, nodes)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2
    mermaid = draw(HOSTILE, nodes, "mermaid").splitlines()
    assert re.fullmatch(r'    n0\["[\w (),.…#;-]+<br/>failed"\]:::failed', mermaid[4])
    svg = draw(HOSTILE, nodes, "svg")
    assert "<script" not in svg
    assert boxes(svg)[0].startswith("<script>alert")


@pytest.mark.parametrize("form", ["png", "", None, 7])
def test_another_form_is_refused(queue: JobQueue, form: Any) -> None:
    workflow = pipeline(1)
    workflow.submit_all(queue)
    for drawn in (workflow, queue.workflow(workflow.id)):
        with pytest.raises(InvalidJob, match="form: one of text, mermaid, svg"):
            drawn.draw(form)
