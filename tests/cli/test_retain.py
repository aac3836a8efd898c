"""gigq retain, gigq db vacuum, and what gigq db info says of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clocks import TurnedClock
from stores import Hands
from terminal import Gigq

from gigq import Job, JobQueue


def test_it_sets_and_shows_how_long_jobs_are_kept(gigq: Gigq, on_file: JobQueue) -> None:
    assert gigq("retain").out.split() == [
        *("Status", "Kept", "completed", "for", "ever", "failed", "for", "ever"),
        *("cancelled", "for", "ever", "timeout", "for", "ever"),
    ]
    answer = gigq("retain", "--completed", "7d", "--failed", "1.5h", "--json")
    assert json.loads(answer.out) == {
        "completed": 604800.0,
        "failed": 5400.0,
        "cancelled": None,
        "timeout": None,
    }
    assert "completed  1w" in gigq("retain", "--failed", "NONE").out
    assert on_file.retention() == {"completed": 604800.0, "failed": None, "cancelled": None, "timeout": None}
    assert "Kept for: completed 1w\n" in gigq("db", "info").out


@pytest.mark.parametrize("age", ["7", "soon", "-7d", "0s"])
def test_what_is_no_age_is_refused(gigq: Gigq, on_file: JobQueue, age: str) -> None:
    answer = gigq("retain", f"--cancelled={age}")
    assert answer.code == 2
    assert "--cancelled" in answer.err
    assert set(on_file.retention().values()) == {None}


@pytest.mark.parametrize("words", [["retain"], ["db", "vacuum"]])
def test_where_there_is_no_file_none_is_made(gigq: Gigq, db: str, words: list[str]) -> None:
    assert gigq(*words).code == 5
    assert not Path(db).exists()


def test_vacuum_makes_the_file_small_and_info_says_what_is_free(
    gigq: Gigq, on_file: JobQueue, db: str
) -> None:
    on_file.submit_many([Job("one", "jobs.nothing", {"x": "y" * 8000}) for _ in range(300)])
    hands = Hands(on_file._store, TurnedClock())
    hands.exchange([hands.outcome(lease) for lease in hands.claim(300)])
    assert gigq("clear").out == "Cleared 300 completed jobs.\n"
    assert "'gigq db vacuum' gives it back" in gigq("db", "info").out
    told = json.loads(gigq("db", "vacuum", "--json").out)
    assert told["path"] == db
    assert told["after"] == Path(db).stat().st_size < 1_000_000
    info = json.loads(gigq("db", "info", "--json").out)
    assert (info["free_size"], info["gives_back"], info["retention"]["failed"]) == (0, True, None)
    assert "takes" in gigq("db", "vacuum").out
    assert gigq("db", "check").code == 0
