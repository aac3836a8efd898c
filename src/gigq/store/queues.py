"""Queues: paused, resumed, limited, and what is in them."""

from __future__ import annotations

from typing import Any

from gigq.store.rows import QueueRow
from gigq.store.verbs import Verbs


class QueueVerbs(Verbs):
    """The verbs about queues as a whole."""

    def pause(self, name: str, reason: str | None, now: int) -> bool:
        """Let no more jobs of a queue start; False if it was paused already."""
        with self._writing() as tx:
            was_paused = bool(tx.value("is_paused", name=name))
            tx.run("pause_queue", name=name, reason=reason, now=now)
            return not was_paused

    def resume(self, name: str) -> bool:
        """Let them start again; False if it was not paused."""
        return self._set("resume_queue", name)

    def limit(self, name: str, concurrency: int | None) -> None:
        """How many jobs of a queue run at once, at all workers together; None for any number."""
        self._set("limit_queue", name, concurrency=concurrency)

    def age(self, name: str, ageing: int | None) -> None:
        """Microseconds after which a waiting job counts as one priority higher; None for never."""
        self._set("age_queue", name, ageing=ageing)

    def _set(self, statement: str, name: str, **values: Any) -> bool:
        with self._writing() as tx:
            changed = tx.run(statement, name=name, **values)
            tx.run("forget_queue", name=name)
            return changed > 0

    def queues(self) -> list[QueueRow]:
        """Those that have jobs or settings, by name."""
        with self._reading() as tx:
            counts: dict[str, dict[str, int]] = {}
            for row in tx.records("queue_counts"):
                counts.setdefault(row["queue"], {})[row["status"]] = row["n"]
            return [QueueRow(**row, jobs=counts.get(row["name"], {})) for row in tx.records("queues")]

    def paused(self) -> list[str]:
        """Names of the queues that are paused."""
        with self._reading() as tx:
            return tx.column("paused_queues")
