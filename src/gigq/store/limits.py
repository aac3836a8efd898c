"""Limits: what an operator changes and asks of them, and what is forgotten of those that nobody needs any more."""

from __future__ import annotations

from typing import Any

from gigq.ids import sought
from gigq.limits import Setting
from gigq.store.transaction import as_json, decode_array
from gigq.store.verbs import Verbs

_COUNTED = 1000
"""Jobs ahead of another in its line that are counted, at most."""
_FURTHER = 2000
"""Lines, and keys, that one turn of tidying looks at."""


class Limits(Verbs):
    """The verbs about limits that nobody needs for each job."""

    def set_limit(self, key: str, setting: Setting) -> None:
        """Set a limit, whatever jobs declare."""
        with self._writing() as tx:
            tx.run("set_limit", key=key, **setting._asdict())

    def reset_limit(self, key: str) -> bool:
        """Let what jobs declare count again, and end a back-off; whether the key is known."""
        with self._writing() as tx:
            return tx.run("reset_limit", key=key) == 1

    def limits(self, key: str | None, limit: int, now: int) -> list[dict[str, Any]]:
        """All keys, in their order, or one; see the statement ``limit_list``."""
        with self._reading() as tx:
            return tx.records("limit_list", key=key, limit=limit, now=now)

    def limits_on(self, job_id: str, now: int) -> list[dict[str, Any]]:
        """Of a job that waits for its limits, each of them; nothing for any other job.

        Each is a dictionary of ``key concurrency amount per`` (microseconds), ``is_full`` (whether it is the one that the
        line waits for), ``running`` (cost of the jobs that run under it), ``running_ids`` (five of them at most),
        ``started`` (cost of the starts that count), ``backs_off_until``, ``opens_at`` (when time alone may make room, or
        None) and ``ahead`` (how many are before it in its line, 1,000 at most).
        """
        with self._reading() as tx:
            found = tx.records("limits_on", id=sought(job_id), now=now, limit=_COUNTED)
        return [{**row, "running_ids": decode_array(str, row["running_ids"])} for row in found]

    def tidy_limits(self, line: int, key: int, now: int) -> tuple[int, int]:
        """Forget lines in which no job stands, and keys that nobody uses, from two cursors on; where to go on (0: from the
        start).
        """
        with self._reading() as tx:
            last_line, lines = _pair(tx.row("idle_lines", cursor=line, limit=_FURTHER))
            last_key, keys = _pair(tx.row("idle_keys", cursor=key, limit=_FURTHER, now=now))
        if lines != "[]" or keys != "[]":
            with self._writing(ring=False) as tx:
                tx.run("forget_lines", lines=lines)
                tx.run("forget_members", lines=lines)
                tx.run("forget_keys", keys=keys)
                tx.run("forget_starts_of", keys=keys)
        return last_line or 0, last_key or 0


def _pair(row: Any) -> tuple[int | None, str]:
    last, found = row
    return last, found or as_json([])
