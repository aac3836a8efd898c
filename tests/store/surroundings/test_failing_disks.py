"""The disk answers with an error of its own (EIO): not acknowledged, said clearly, nothing damaged, and the next try works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import power
import processes
import pytest
import torture_jobs
import tracer
from rig import Rig
from tracer import Orders

from gigq import Job, JobQueue, close_connections

pytestmark = tracer.needed()

_SUBMIT = """
import os, sys
import jobs
from gigq import Job, JobQueue
from gigq.errors import StoreError
from gigq.store import sqlite

path, checkpoint_at, end = sys.argv[1:]
sqlite._CHECKPOINT_AT = int(checkpoint_at)
queue = JobQueue(path)
for n in range(8):
    job = Job(f"j{n}", jobs.nothing)
    try:
        queue.submit(job)
    except StoreError as error:
        print("refused", job.id, error)
    else:
        print("acked", job.id)
sys.stdout.flush()
if end == "abrupt":
    os._exit(0)
"""


def submitted(db: str, folder: Path, orders: Orders, *words: str) -> tuple[list[str], dict[str, str]]:
    """Of eight submits while the disk fails: what was acknowledged, and what was refused, with the reason."""
    orders.under = str(
        Path(db).parent.parent
    )  # so that the folder does not count: SQLite ignores what its sync says
    orders.names = [db, f"{db}-wal"]
    script = folder / "submit.py"
    script.write_text(_SUBMIT)
    python, *tracing = tracer.command(orders)
    said = processes.run(*tracing, python, str(script), db, *words, cwd=folder)
    acked: list[str] = []
    refused: dict[str, str] = {}
    for line in said.splitlines():
        word, job, *rest = line.split(" ", 2)
        if word == "acked":
            acked.append(job)
        else:
            refused[job] = rest[0]
    assert len(acked) + len(refused) == 8
    return acked, refused


def assert_clear(db: str, refused: dict[str, str]) -> None:
    for reason in refused.values():
        assert reason.startswith(f"{db}: the disk refused ("), reason
        assert "IOERR" in reason
        assert "Check the disk" in reason


@pytest.mark.parametrize("checkpoint_at", ["4096", "10"])
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
@pytest.mark.parametrize("at", [1, 5])
def test_a_submit_is_not_acknowledged_and_the_next_one_works(
    db: str, tmp_path: Path, call: str, at: int, checkpoint_at: str
) -> None:
    JobQueue(db).close()
    orders = Orders("", calls=[call], at=at, how="EIO")
    acked, refused = submitted(db, tmp_path, orders, checkpoint_at, "abrupt" if at == 1 else "good")
    assert_clear(db, refused)
    # A checkpoint that fails has nobody to tell: what it would have copied stays in the WAL.
    assert len(refused) == 1 or (checkpoint_at == "10" and not refused)
    found = power.look(Path(db))
    assert found.broken is None
    assert list(found.jobs) == acked


@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_a_disk_that_fails_for_good_takes_nothing_and_keeps_what_it_has(
    db: str, tmp_path: Path, call: str
) -> None:
    JobQueue(db).close()
    orders = Orders("", calls=[call], at=3, times=10**6, how="EIO")
    acked, refused = submitted(db, tmp_path, orders, "4096", "abrupt")
    assert_clear(db, refused)
    assert refused
    found = power.look(Path(db))
    assert found.broken is None
    # The frames of the last one may be there, and were not synced: whether it is stored nobody can say.
    assert set(acked) <= set(found.jobs) <= {*acked, list(refused)[-1]}
    close_connections()
    assert len(submitted(db, tmp_path, Orders("", calls=[call]), "4096", "good")[0]) == 8


def test_a_read_that_fails_is_said(db: str, tmp_path: Path) -> None:
    queue = JobQueue(db)
    queue.submit_many([Job(f"j{n}", "no.where", description="x" * 9000) for n in range(20)])
    queue.close()
    close_connections()
    acked, refused = submitted(db, tmp_path, Orders("", calls=["pread64"], at=12, how="EIO"), "4096", "good")
    # SQLite takes what cannot be read for damaged, and so does the remedy that is named.
    assert [reason.split(" (")[0] for reason in refused.values()] == [f"{db}: is damaged"]
    found = power.look(Path(db))
    assert found.broken is None
    assert list(found.jobs)[20:] == acked


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_a_worker_survives_and_goes_on_by_itself(rig: Rig, call: str) -> None:
    last: list[str] = []
    for n in range(12):  # one after the other, so that each is an exchange of its own
        function = torture_jobs.fail_first if n == 5 else torture_jobs.work
        last = [rig.submit(function, dependencies=last)]
    orders = Orders(str(rig.folder), names=[rig.db, f"{rig.db}-wal"], calls=[call], times=2, how="EIO")
    orders.at = 100 if call == "pwrite64" else 6  # it is at work by then
    worker = rig.worker(under=tracer.command(orders))
    rig.await_all_ended()
    said = worker.said()
    assert f"gigq: {rig.db}: the disk refused" in said, rig.told(said)
    assert "Traceback" not in said
    rig.stop(worker)
    rig.judge()
    assert all(job["status"] == "completed" for job in rig.evidence().jobs.values())
