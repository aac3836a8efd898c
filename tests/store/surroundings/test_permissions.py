"""No permission: an error that names the path and the remedy; and a read-only file that can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jobs
import pytest
from surroundings import as_nobody, folder_of_nobody, give_to_nobody

from gigq import Job, JobQueue, Worker, close_connections

_TELL = """
from gigq import Job, JobQueue, Worker
from gigq.errors import StoreError
def tell(action):
    try:
        print(action())
    except StoreError as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_of_nobody() as made:
        yield made


@pytest.fixture
def path(folder: Path) -> Path:
    """A queue with one finished and one pending job, closed, in a folder of an unprivileged user."""
    queue = JobQueue(folder / "jobs.db")
    queue.submit(Job("done", jobs.add, params={"a": 1, "b": 2}))
    worker = Worker(queue)
    assert worker.process_one()
    worker.close()
    queue.submit(Job("pending", jobs.nothing))
    close_connections()
    give_to_nobody(folder)
    return folder / "jobs.db"


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(folder: Path) -> None:
    folder.chmod(0o555)
    for opening in ("JobQueue", "Worker"):
        said = as_nobody(f"{_TELL}\ntell(lambda: {opening}(path))", folder / "jobs.db")
        assert said.startswith(f"StoreUnusable {folder / 'jobs.db'}: cannot be created: Permission denied")
        assert "Check the folder's permissions" in said
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("initialize", [True, False])
def test_a_folder_that_cannot_be_entered_is_not_taken_for_a_missing_one(
    folder: Path, path: Path, initialize: bool
) -> None:
    folder.chmod(0o600)
    said = as_nobody(f"{_TELL}\ntell(lambda: JobQueue(path, {initialize}).stats())", path)
    assert said.startswith(f"StoreUnusable {path}: ")
    assert "ermission" in said


def test_a_file_that_cannot_be_read_is_named_with_the_remedy(path: Path) -> None:
    path.chmod(0)
    said = as_nobody(f"{_TELL}\ntell(lambda: JobQueue(path).stats())", path)
    assert said == f"StoreUnusable {path}: no permission to read it. Change its mode or owner."


_READ = """
queue = JobQueue(path, {initialize})
shown = queue.list_jobs()
print([job["name"] for job in shown], queue.get_result(shown[1]["id"]), queue.stats()["total"])
print(queue.get_status(shown[1]["id"])["executions"][0]["status"], queue.get_status("nobody"))
tell(lambda: queue.submit(Job("late", "jobs.nothing")))
"""


@pytest.mark.parametrize("initialize", [True, False])
@pytest.mark.parametrize("folder_mode", [0o755, 0o555])
def test_a_read_only_file_can_be_read_and_says_why_it_cannot_be_written(
    folder: Path, path: Path, initialize: bool, folder_mode: int
) -> None:
    before = path.read_bytes()
    path.chmod(0o444)
    folder.chmod(folder_mode)
    first, second, refusal = as_nobody(_TELL + _READ.format(initialize=initialize), path).splitlines()
    assert first == "['pending', 'done'] 3 2"
    assert second == "completed {'exists': False}"
    assert refusal.startswith(f"StoreUnusable {path}: ")
    assert "Check the mode" in refusal
    assert path.read_bytes() == before


def test_a_worker_on_a_read_only_file_ends_with_the_reason(folder: Path, path: Path) -> None:
    path.chmod(0o444)
    said = as_nobody(f"{_TELL}\ntell(lambda: Worker(path).process_one())", path)
    assert said.startswith(f"StoreUnusable {path}: ")
    assert "Check the mode" in said


def test_where_no_sidecar_can_be_made_nothing_is_written(folder: Path, path: Path) -> None:
    Path(f"{path}-lock").unlink()
    folder.chmod(0o555)
    before = path.read_bytes()
    said = as_nobody(f"{_TELL}\ntell(lambda: JobQueue(path).submit(Job('j', 'jobs.nothing')))", path)
    assert said.startswith(f"StoreUnusable {path}: ")
    assert f"{path}-lock" in said
    assert "Permission denied" in said
    assert path.read_bytes() == before


def test_permission_that_is_taken_away_meanwhile_stops_nobody_who_has_the_file_open(path: Path) -> None:
    code = """
import os, threading
queue = JobQueue(path)
worker = Worker(path)
assert worker.process_one()
os.chmod(path, 0)
tell(lambda: queue.submit(Job("open", jobs.nothing)) and None)
tell(worker.process_one)
other = threading.Thread(target=lambda: tell(lambda: queue.submit(Job("anew", jobs.nothing))))
other.start()
other.join()
os.chmod(path, 0o600)
tell(lambda: queue.submit(Job("later", jobs.nothing)) and None)
tell(worker.process_one)
worker.close()
print(queue.stats()["completed"], queue.stats()["total"])
"""
    said = as_nobody(_TELL + code, path).splitlines()
    refusal = f"StoreUnusable {path}: no permission to read it. Change its mode or owner."
    assert said == ["None", "True", refusal, "None", "True", "4 4"]
