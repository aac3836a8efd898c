"""The oracle is worth what it notices: each law, broken by hand, and the rig with each guard taken out (K24)."""

from __future__ import annotations

from typing import Any

import oracle
import pytest
from ledger import Kill, Line

SECOND = 1_000_000_000


def job(job_id: str = "a", **changes: Any) -> dict[str, Any]:
    sound = {
        "id": job_id,
        "status": "completed",
        "attempts": 1,
        "crashes": 0,
        "max_attempts": 3,
        "timeout": 300,
        "dependencies": "[]",
        "result": '"x1"',
        "error": None,
    }
    return sound | changes


def run(number: int = 1, status: str = "completed", execution: str | None = None) -> dict[str, Any]:
    return {"run": number, "status": status, "id": execution or f"x{number}", "worker_id": "w-1"}


def line(what: str, at: float, number: int = 1, job_id: str = "a", pid: int = 1) -> Line:
    return Line(what, job_id, number, f"x{number}", pid, round(at * SECOND))


SOUND = [line("submit", 0), line("acked", 0.1), line("start", 1), line("end", 2)]
AGAIN = [*SOUND[:3], line("start", 5, 2, pid=2), line("end", 6, 2, pid=2)]


def told(
    lines: list[Line],
    jobs: list[dict[str, Any]],
    runs: list[dict[str, Any]],
    *,
    kills: tuple[Kill, ...] = (),
    counts: dict[str, int] | None = None,
    integrity: str = "ok",
) -> set[str]:
    """The numbers of the laws that are broken."""
    known = {row["id"]: row for row in jobs}
    true: dict[str, int] = {}
    for row in jobs:
        true[row["status"]] = true.get(row["status"], 0) + 1
    seen = oracle.Evidence(
        known, {"a": runs}, true if counts is None else counts, integrity, lines, list(kills)
    )
    return {violation.split()[0] for violation in oracle.judge(seen)}


def test_a_sound_story_is_not_blamed() -> None:
    assert told(SOUND, [job()], [run()]) == set()


def test_a_second_run_after_a_kill_is_not_blamed() -> None:
    row = job(crashes=1, result='"x2"')
    kill = Kill(1, 3 * SECOND, 4 * SECOND, "SIGKILL")
    assert told(AGAIN, [row], [run(1, "crashed"), run(2)], kills=(kill,)) == set()


def test_a_second_run_after_a_timeout_is_not_blamed() -> None:
    row = job(attempts=2, timeout=3, result='"x2"')
    lines = [*AGAIN[:4], line("end", 5.5), AGAIN[4]]
    assert told(lines, [row], [run(1, "superseded"), run(2)]) == set()


def test_i1_a_lost_job() -> None:
    assert told(SOUND[:2], [], []) == {"I1"}


def test_i1_a_job_that_never_ends() -> None:
    row = job(status="pending", attempts=0, result=None)
    assert told(SOUND[:2], [row], []) == {"I1"}


def test_i2_a_job_that_nobody_submitted() -> None:
    assert told(SOUND, [job(), job("b", attempts=0, status="cancelled")], [run()]) == {"I2"}


def test_i3_an_execution_that_was_started_twice() -> None:
    assert "I3" in told([*SOUND, line("start", 3)], [job()], [run()])


def test_i3_a_second_start_where_there_may_be_one() -> None:
    row = job(crashes=1, max_attempts=1, result='"x2"')
    kill = Kill(1, 3 * SECOND, 4 * SECOND, "SIGKILL")
    assert told(AGAIN, [row], [run(1, "crashed"), run(2)], kills=(kill,)) == {"I3"}


@pytest.mark.parametrize(
    "kill", [None, Kill(3, 3 * SECOND, 4 * SECOND, "another"), Kill(1, 7 * SECOND, 8 * SECOND, "too late")]
)
def test_i4_a_crash_without_a_kill(kill: Kill | None) -> None:
    row = job(crashes=1, result='"x2"')
    kills = () if kill is None else (kill,)
    assert "I4" in told(AGAIN, [row], [run(1, "crashed"), run(2)], kills=kills)


def test_i4_a_failure_that_the_job_knows_nothing_of() -> None:
    row = job(attempts=2, result='"x2"')
    assert "I4" in told(AGAIN, [row], [run(1, "failed"), run(2)])


def test_i4_a_timeout_before_its_time() -> None:
    row = job(attempts=2, timeout=300, result='"x2"')
    assert "I4" in told(AGAIN, [row], [run(1, "timeout"), run(2)])


def test_i4_a_second_run_after_a_good_one() -> None:
    lines = [*SOUND, line("start", 5, 2), line("end", 6, 2)]
    assert "I4" in told(lines, [job(attempts=2, result='"x2"')], [run(1), run(2)])


def test_i5_two_runs_at_once() -> None:
    lines = [*AGAIN[:4], line("end", 5.5), AGAIN[4]]
    row = job(crashes=1, result='"x2"')
    assert "I5" in told(lines, [row], [run(1, "crashed"), run(2)])


def test_i6_the_result_of_an_older_run() -> None:
    row = job(attempts=2, timeout=3, result='"x1"')
    assert told(AGAIN, [row], [run(1, "superseded"), run(2)]) == {"I6"}


def test_i7_a_gap_in_the_numbers() -> None:
    assert told(SOUND, [job()], [run(2, execution="x1")]) == {"I7"}


def test_i7_a_charge_without_a_row() -> None:
    assert told(SOUND, [job(attempts=2)], [run()]) == {"I7"}
    assert told(SOUND, [job(crashes=1)], [run()]) == {"I7"}


def test_i7_a_run_left_open() -> None:
    row = job(status="failed", attempts=1, result=None)
    assert "I7" in told(SOUND, [row], [run(), run(2, "running")])


def test_i7_a_completed_run_that_never_ended() -> None:
    assert told([*SOUND[:3], line("end", 1, 9, "b")], [job()], [run()]) == {"I7"}


def test_i7_wrong_counts() -> None:
    assert told(SOUND, [job()], [run()], counts={"completed": 2}) == {"I7"}


def test_i8_a_child_before_its_parent() -> None:
    parent = job("p", result=None, attempts=0)
    child = job(dependencies='["p"]')
    lines = [line("submit", 0, job_id="p"), *SOUND]
    assert told(lines, [parent, child], [run()]) == {"I8"}


def test_i10_a_damaged_database_and_descriptors_left_open() -> None:
    assert told(SOUND, [job()], [run()], integrity="row 3 missing") == {"I10"}
    assert told([*SOUND, Line("descriptors", "-", 2, "-", 1, 9 * SECOND)], [job()], [run()]) == {"I10"}


def test_i10_a_file_left_behind(tmp_path: Any) -> None:
    (tmp_path / "jobs.db").touch()
    (tmp_path / "jobs.db-journal").touch()
    assert oracle.strangers(tmp_path, {"jobs.db"}) == ["I10 jobs.db-journal was left behind"]
