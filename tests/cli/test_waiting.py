"""gigq wait and gigq result."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest
import terminal
from terminal import Gigq, MakeJob

from gigq import JobQueue, Worker, admin
from gigq.store.sidecar import FileSidecar

NOBODY = "No worker is running, so this may take for ever. Start one: gigq worker\n"


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("text\nof two lines", "text\nof two lines\n"),
        ({"a": 1, "ż": None}, '{\n  "a": 1,\n  "ż": null\n}\n'),
        ([], "[]\n"),
        (0, "0\n"),
        (True, "true\n"),
        (None, "null\n"),
    ],
)
def test_a_result_is_text_as_it_is_and_else_json(
    gigq: Gigq, make_job: MakeJob, work: Callable[[], None], value: object, printed: str
) -> None:
    job_id = make_job("echo", params={"value": value})
    work()
    assert gigq("result", job_id) == (0, printed, "")
    assert gigq("result", job_id, "--wait") == (0, printed, "")
    assert json.loads(gigq("result", job_id, "--json").out) == value


def test_a_job_that_has_not_ended_has_no_result_yet(gigq: Gigq, make_job: MakeJob) -> None:
    job_id = make_job()
    answer = gigq("result", job_id)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == (
        f"Job {job_id} is pending, so it has no result yet. Wait for it: gigq result {job_id} --wait\n"
    )


@pytest.mark.parametrize("command", ["result", "wait"])
def test_an_unknown_job_is_not_found(gigq: Gigq, command: str) -> None:
    assert gigq(command, "nope") == (1, "", "Job nope not found. See which there are: gigq list\n")


def test_waiting_for_a_job_that_has_completed_ends_at_once(
    gigq: Gigq, make_job: MakeJob, work: Callable[[], None]
) -> None:
    job_id = make_job()
    work()
    assert gigq("wait", job_id) == (0, f"Job {job_id} completed.\n", "")
    found = json.loads(gigq("wait", job_id, "--json").out)
    assert found == {"id": job_id, "name": "nothing", "status": "completed", "attempts": 1, "error": None}


@pytest.mark.parametrize("words", [["wait"], ["result"], ["result", "--wait"]])
def test_a_job_that_ended_badly_gives_exit_code_3_and_the_reason(
    gigq: Gigq, make_job: MakeJob, work: Callable[[], None], words: list[str]
) -> None:
    failed = make_job("fail", params={"message": "the reason"}, max_attempts=1)
    work()
    cancelled = make_job()
    gigq("cancel", cancelled)
    answer = gigq(*words, failed)
    assert (answer.code, answer.out) == (3, "")
    assert answer.err.startswith(f"Job {failed} failed: ValueError: the reason\n")
    assert f"gigq requeue {failed}" in answer.err
    answer = gigq(*words, cancelled)
    assert answer.code == 3
    assert answer.err.startswith(f"Job {cancelled} was cancelled.\n")


def test_the_bad_end_of_a_job_in_json(gigq: Gigq, make_job: MakeJob, work: Callable[[], None]) -> None:
    job_id = make_job("fail", max_attempts=1)
    work()
    answer = gigq("wait", job_id, "--json")
    assert answer.code == 3
    assert json.loads(answer.out)["status"] == "failed"


@pytest.mark.parametrize("words", [["wait"], ["result", "--wait"]])
def test_waiting_that_takes_too_long_gives_exit_code_4(
    gigq: Gigq, make_job: MakeJob, words: list[str]
) -> None:
    job_id = make_job()
    answer = gigq(*words, job_id, "--timeout", "0.1")
    assert (answer.code, answer.out) == (4, "")
    assert f"Job {job_id} is still pending after 0.1 s." in answer.err
    assert gigq(*words, job_id, "--timeout", "0").code == 4
    assert gigq(*words, job_id, "--timeout", "-1").code == 2


def test_a_timeout_without_waiting_is_a_usage_error(gigq: Gigq, make_job: MakeJob) -> None:
    assert gigq("result", make_job(), "--timeout", "1").code == 2


def test_that_nobody_works_is_said_once(
    gigq: Gigq, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "_NET", 0.01)
    assert gigq("wait", make_job(), "--timeout", "0.3").err.count(NOBODY) == 1


def test_a_living_worker_is_not_missed(gigq: Gigq, db: str, make_job: MakeJob) -> None:
    make_job()
    last = make_job()
    worker = Worker(db)
    worker.process_one()
    assert NOBODY not in gigq("wait", last, "--timeout", "0.1").err
    worker.close()
    assert NOBODY in gigq("wait", last, "--timeout", "0.1").err


def test_the_bell_alone_wakes_who_waits(
    db: str, make_job: MakeJob, on_file: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "_NET", 3600.0)
    job_id = make_job()
    waits = threading.Event()
    ended: list[str] = []

    def wait() -> None:
        found = admin.wait(JobQueue(db), job_id, None, waits.set)
        ended.append(found["status"] if found else "gone")

    thread = threading.Thread(target=wait)
    thread.start()
    assert waits.wait(terminal.LIMIT)
    worker = Worker(db)
    worker.process_one()
    worker.close()
    thread.join(terminal.LIMIT)
    assert ended == ["completed"]


def test_without_a_bell_the_net_finds_the_end(
    db: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "_listen", lambda *_: False)
    job_id = make_job()
    waits = threading.Event()
    ended: list[str] = []

    def wait() -> None:
        found = admin.wait(JobQueue(db), job_id, None, waits.set)
        ended.append(found["status"] if found else "gone")

    thread = threading.Thread(target=wait)
    thread.start()
    assert waits.wait(terminal.LIMIT)
    worker = Worker(db)
    worker.process_one()
    worker.close()
    thread.join(terminal.LIMIT)
    assert ended == ["completed"]


def test_however_often_the_bell_rings_nobody_is_kept_busy(
    db: str, make_job: MakeJob, on_file: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = make_job()
    looks = 0
    real = on_file._store.result

    def result(asked: str) -> tuple[str, str | None] | None:
        nonlocal looks
        looks += 1
        sidecar = on_file._store.engine.sidecar
        assert isinstance(sidecar, FileSidecar)
        sidecar.ring()  # there is always something new to hear
        return real(asked)

    monkeypatch.setattr(on_file._store, "result", result)
    admin.wait(on_file, job_id, 0.5, lambda: None)
    assert 2 <= looks <= 0.5 / admin._APART + 2


def test_a_job_that_is_cleared_meanwhile_is_not_found(
    gigq: Gigq, make_job: MakeJob, on_file: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = make_job()
    monkeypatch.setattr(type(on_file._store), "result", lambda *_: None)
    assert gigq("wait", job_id) == (1, "", f"Job {job_id} not found. See which there are: gigq list\n")
