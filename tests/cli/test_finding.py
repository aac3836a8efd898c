"""gigq list with its filters; tags and metadata on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from terminal import Gigq, MakeJob

from gigq import Job, JobQueue
from gigq.store import listing


def test_each_filter_of_the_list_is_passed_on(gigq: Gigq, make_job: MakeJob) -> None:
    tagged = make_job(tags=["web"])
    echo = make_job("echo", params={"value": "here"})
    for words, job_id in (
        (["--tag", "web"], tagged),
        (["--task", "jobs.echo"], echo),
        (["--search", "HERE"], echo),
        (["--queue", "default", "--task", "echo"], echo),
        (["--before", echo[-8:]], tagged),
    ):
        assert [job["id"] for job in json.loads(gigq("list", "--json", *words).out)] == [job_id], words
    assert gigq("list", "--queue", "mail").out == "No jobs found.\n"


def test_a_search_shows_where_it_was_found(gigq: Gigq, make_job: MakeJob) -> None:
    make_job("echo", params={"value": "x" * 60 + "\nneedle" + "y" * 60})
    head, row = gigq("list", "--search", "NEEDLE").out.splitlines()
    assert head.split()[-1] == "Found"
    assert row.endswith(f"params: ...{'x' * 22}\\nneedle{'y' * 24}...")
    [found] = json.loads(gigq("list", "--search", "NEEDLE", "--json").out)
    assert found["name"] == "echo"


@pytest.mark.parametrize("text", ["@0x", "nothing"])
def test_a_place_that_is_none_is_refused(gigq: Gigq, make_job: MakeJob, text: str) -> None:
    make_job()
    answer = gigq("list", "--before", text)
    assert (answer.code, answer.out) == (1, "")
    assert "not found" in answer.err


def test_one_goes_on_with_what_was_said(gigq: Gigq, make_job: MakeJob) -> None:
    ids = [make_job() for _ in range(5)]
    seen, words = [], ["list", "--limit", "2", "--json"]
    for _ in range(3):
        answer = gigq(*words)
        seen += [job["id"] for job in json.loads(answer.out)]
        if answer.err:
            words[4:] = ["--before", answer.err.split("--before ")[1].split()[0]]
    assert seen == ids[::-1]


def test_where_not_all_was_looked_at_it_says_so(
    gigq: Gigq, make_job: MakeJob, on_file: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = make_job(name="needle")
    for _ in range(5):
        make_job()
    monkeypatch.setattr(listing, "_SEARCHED", 3)
    monkeypatch.setattr(listing, "MOST", 3)
    answer = gigq("list", "--search", "needle")
    assert answer.out == "No jobs found.\n"
    assert answer.err == "There may be older ones: go on with --before @4\n"
    assert wanted in gigq("list", "--search", "needle", "--before", "@4").out


def test_submit_takes_tags_and_metadata_and_status_shows_them(gigq: Gigq, on_file: JobQueue) -> None:
    words = ["--tag", "a", "--tag", "b\x1b[31m", "--metadata", "n=5", "--metadata", "who=ops"]
    job_id = gigq("submit", "jobs.nothing", *words).out.split()[-1]
    record = on_file.get_status(job_id)
    assert (record["tags"], record["metadata"]) == (["a", "b\x1b[31m"], {"n": 5, "who": "ops"})
    shown = gigq("status", job_id).out
    assert "Metadata n: 5\nMetadata who: ops\n" in shown
    assert "\x1b" not in shown
    assert gigq("submit", "jobs.nothing", "--tag", "").code == 2


def test_without_tags_status_says_nothing_of_them(gigq: Gigq, on_file: JobQueue) -> None:
    assert "Tags" not in gigq("status", on_file.submit(Job("one", "jobs.nothing"))).out


# -- explain -----------------------------------------------------------------------------------------------------


def test_explain_says_why_and_what_to_do(gigq: Gigq, make_job: MakeJob) -> None:
    job_id = make_job()
    assert gigq("explain", job_id[-8:]) == (
        0,
        "It is ready, and no worker is running.\nStart one: gigq worker.\n",
        "",
    )
    told = json.loads(gigq("explain", job_id, "--json").out)
    assert (told["id"], told["exists"], told["status"]) == (job_id, True, "pending")
    assert [reason["reason"] for reason in told["reasons"]] == ["no worker"]


def test_explain_of_a_job_that_is_not_there_is_refused(gigq: Gigq, on_file: JobQueue) -> None:
    answer = gigq("explain", "nothing")
    assert (answer.code, answer.out) == (1, "")
    assert "Job nothing not found" in answer.err
    assert json.loads(gigq("explain", "nothing", "--json").out) == {"exists": False}


def test_an_error_cannot_harm_the_terminal(gigq: Gigq, on_file: JobQueue, work: Callable[[], None]) -> None:
    job_id = on_file.submit(Job("one", "jobs.fail", {"message": "a\x1b[31m\u202e"}, max_attempts=1))
    work()
    answer = gigq("explain", job_id)
    assert "after 1 of 1 attempt: ValueError: a" in answer.out
    assert "\x1b" not in answer.out
    assert "\u202e" not in answer.out
