"""Databases of the old releases, copied for a test, and what those releases said of them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from gigq.store import migrations

FOLDER = Path(__file__).parent.parent / "fixtures" / "legacy"
ZONE = "America/New_York"
RELEASES = ("0.1.0", "0.1.1", "0.2.0", "0.2.1", "0.3.0", "0.4.0", "0.5.0", "0.5.1")


class Old:
    """A copy of an old database."""

    def __init__(self, release: str, folder: Path) -> None:
        self.release = release
        self.path = str(folder / "old.db")
        shutil.copyfile(FOLDER / f"gigq-{release}.db", self.path)
        said: dict[str, Any] = json.loads((FOLDER / f"gigq-{release}.json").read_text("utf-8"))
        assert said["zone"] == ZONE
        self.stats: dict[str, int] | None = said["stats"]
        self.jobs: dict[str, dict[str, Any]] = {job["label"]: job["status"] for job in said["jobs"]}
        self.removed: list[str] = [job["status"]["id"] for job in said["removed"]]

    def id(self, label: str) -> str:
        return str(self.jobs[label]["id"])

    def sql(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement on the file as it is."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(text, values).fetchall()

    def change(self, label: str, **columns: Any) -> None:
        """Put odd values into a row."""
        for column, value in columns.items():
            self.sql(f"UPDATE jobs SET {column} = ? WHERE id = ?", value, self.id(label))


def state(path: Path, before: list[tuple[Any, ...]]) -> str:
    """Whether a migrated file is the old one or the new one, if it is wholly one of them."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if version == 0:
            assert "job" not in tables
            assert connection.execute("SELECT * FROM jobs ORDER BY rowid").fetchall() == before
            return "old"
        assert version == migrations.NEWEST
        assert not [name for name in tables if "gigq_old" in name or name == "jobs"]
        return "new"


def utc(naive: str | None) -> str | None:
    """A naive local time of the old releases as it is shown now."""
    if naive is None:
        return None
    moment = datetime.fromisoformat(naive).replace(tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
    return moment.isoformat(timespec="microseconds")


def microseconds(naive: str) -> int:
    moment = datetime.fromisoformat(naive).replace(tzinfo=ZoneInfo(ZONE))
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)


ROWS = {"rows": 3}
AFTERWARDS: dict[str, tuple[str, Any]] = {
    # A parent that was cleared counts as completed, with the result None.
    "child_of_cleared": ("completed", {"parents": 1, "results": [None]}),
    "child_of_cleared_and_completed": ("completed", {"parents": 2, "results": [None, 11]}),
    "pending_unknown_parent": ("completed", {"parents": 1, "results": [None]}),
    "child_of_completed": ("completed", {"parents": 1, "results": [ROWS]}),
    "child_of_none": ("completed", {"parents": 1, "results": [None]}),
    "child_of_nan": ("completed", ["[nan]"]),
    "child_of_two": ("completed", {"parents": 2, "results": [ROWS, None]}),
    "child_of_two_reversed": ("completed", {"parents": 2, "results": [None, ROWS]}),
    "child_of_same_parent_twice": ("completed", {"parents": 1, "results": [ROWS]}),
    "child_that_wants_nothing": ("completed", 5),
    "child_passed_false": ("completed", {"parents": None, "results": []}),
    "child_passed_unwanted": ("failed", None),
    # Those releases left the children of what ended badly waiting for ever; so do they here.
    **dict.fromkeys(
        (
            "child_of_failed",
            "grandchild_of_failed",
            "child_of_completed_and_failed",
            "child_of_timed_out",
            "child_of_cancelled",
            "loop_first",
            "loop_second",
        ),
        ("pending", None),
    ),
    "running": ("completed", 30),
    "running_last_attempt": ("timeout", None),
    "running_for_long": ("running", None),
    "child_of_running": ("completed", {"parents": 1, "results": [30]}),
    "child_of_completed_and_running": ("pending", None),
    "pending_after_failure": ("completed", "second time"),
    "pending_after_timeout": ("completed", "again"),
    "requeued_failed": ("completed", 1),
    "requeued_cancelled": ("completed", 2),
    "retry_due": ("completed", 2),
    "retry_waiting": ("pending", None),
    "retry_waiting_after_timeout": ("pending", None),
    "requeued_waiting": ("pending", None),
    "pending": ("completed", 3),
    "pending_surrogate": ("completed", "'\\ud800 alone'"),
    "pending_nul": ("completed", "'a\\x00b'"),
    "pending_no_params": ("completed", None),
    "pending_urgent": ("completed", "first"),
    "pending_patient": ("completed", "last"),
    "pending_between": ("completed", "between"),
    "pending_described": ("completed", None),
    "pending_timeout_zero": ("completed", 4),
    "pending_timeout_none": ("completed", 5),
    "pending_timeout_float": ("completed", 6),
    "pending_timeout_negative": ("completed", 7),
    "pending_attempts_zero": ("completed", 8),
    "pending_nulls": ("completed", 9),
    "pending_params_list": ("failed", None),
    "pending_async": ("completed", 10),
    "pending_module_gone": ("pending", None),
    "pending_function_gone": ("pending", None),
    "pending_lambda": ("pending", None),
    "child_of_pending": ("completed", {"parents": 1, "results": [3]}),
    "child_of_completed_and_urgent": ("completed", {"parents": 2, "results": [ROWS, "first"]}),
    "pending_task": ("completed", 42),
    "pending_retry_delay_float": ("completed", None),
    "pending_whole_second": ("completed", None),
    "pending_built_early": ("completed", None),
}
"""Label -> status and result of what was pending or running, once a worker of today has found no more to do."""
