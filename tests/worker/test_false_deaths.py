"""Who cannot be asked about the boot or the birth of a process is not taken for dead."""

from __future__ import annotations

from pathlib import Path

import processes
import pytest
from processes import PATIENCE, wait_until

from gigq import JobQueue, ids

_WORK = """
    import sys
    from gigq import Worker, ids
    if sys.argv[2] == "ignorant":
        ids._BOOT_ID = "/nowhere"  # as on a system without /proc, or while no descriptor is left
    Worker(sys.argv[1]).start()
"""
_JUDGE = """
    import sys
    from gigq import Worker, ids
    if sys.argv[2] == "ignorant":
        ids._BOOT_ID = "/nowhere"
    worker = Worker(sys.argv[1])
    print(worker.process_one())
    worker.close()
"""


@pytest.mark.parametrize("judge", ["knowing", "ignorant"])
@pytest.mark.parametrize("judged", ["knowing", "ignorant"])
def test_a_worker_whose_boot_nobody_tells_keeps_its_job(
    db: str, tmp_path: Path, judge: str, judged: str
) -> None:
    queue, go = JobQueue(db), tmp_path / "go"
    job = queue.submit(processes.waiting(go))
    working = processes.start(_WORK, db, judged, cwd=tmp_path)
    try:
        wait_until(lambda: processes.begun(go), "the job runs")
        assert processes.run_code(_JUDGE, db, judge, cwd=tmp_path) == "False\n"
        shown = queue.get_status(job)
        assert (shown["status"], shown["crashes"]) == ("running", 0)
        go.touch()
        wait_until(lambda: queue.get_status(job)["status"] == "completed", "it ends")
        assert len(queue.get_status(job)["executions"]) == 1
    finally:
        working.terminate()
        assert working.communicate(timeout=PATIENCE)[1] == ""


def test_a_dead_worker_whose_boot_nobody_tells_is_rescued(db: str, tmp_path: Path) -> None:
    queue, go = JobQueue(db), tmp_path / "go"
    job = queue.submit(processes.waiting(go))
    working = processes.start(_WORK, db, "ignorant", cwd=tmp_path)
    wait_until(lambda: processes.begun(go), "the job runs")
    working.kill()
    working.communicate(timeout=PATIENCE)
    go.touch()
    assert processes.run_code(_JUDGE, db, "ignorant", cwd=tmp_path) == "True\n"
    shown = queue.get_status(job)
    assert (shown["status"], shown["crashes"]) == ("completed", 1)


def test_a_process_whose_birth_cannot_be_read_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("builtins.open", refuse)
    assert ids.process_birth(1) == ""
