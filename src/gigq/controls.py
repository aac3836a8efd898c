"""What can be done to queues and limits at run time: the part of JobQueue that is not about single jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gigq import limits, log
from gigq.clock import SECOND, Clock, microseconds, to_iso
from gigq.errors import InvalidJob
from gigq.queues import check_name
from gigq.status import JobStatus

if TYPE_CHECKING:
    from types import EllipsisType

    from gigq.store import Store

_LONGEST_REASON = 1000


class QueueControls:
    """Pause, resume and limit the queues of a database, and set limits by key; all is stored, and holds for all workers."""

    clock: Clock

    if TYPE_CHECKING:

        @property
        def _store(self) -> Store: ...

    def pause(self, name: str, reason: str | None = None) -> bool:
        """
        Let no more jobs of a queue start, at any worker, until :meth:`resume`.

        What runs goes on; what workers have claimed ahead and not started goes back. Submitting goes on too.

        Args:
            name: The queue; it need not have any jobs yet.
            reason: Why, for whoever wonders.

        Returns:
            True if it was paused now, False if it was paused already (a new reason takes the place of the old one).

        Raises:
            InvalidJob: The name or the reason cannot be one.
        """
        check_name(name, "name")
        if reason is not None and not (
            isinstance(reason, str) and len(reason) <= _LONGEST_REASON and reason.isprintable()
        ):
            raise InvalidJob(
                f"reason: printable text of at most {_LONGEST_REASON} characters is needed, not {reason!r:.100}"
            )
        paused = self._store.pause(name, reason, self.clock.now())
        if paused:
            log.paused(name, reason)
        return paused

    def resume(self, name: str) -> bool:
        """
        Let the jobs of a paused queue start again; workers are woken.

        Returns:
            True if it was paused, False if not.

        Raises:
            InvalidJob: The name cannot be that of a queue.
        """
        resumed = self._store.resume(check_name(name, "name"))
        if resumed:
            log.resumed(name)
        return resumed

    def limit(self, name: str, concurrency: int | None) -> None:
        """
        Set how many jobs of a queue run at once, at all workers together.

        Jobs that a worker has claimed count from then on, as they do in :meth:`queues`. A lower limit stops nothing
        that runs; nothing more starts until there is room.

        Args:
            name: The queue.
            concurrency: At least 1; None for no limit. (To let nothing start, pause it.)

        Raises:
            InvalidJob: An argument cannot be accepted.
        """
        check_name(name, "name")
        if concurrency is not None and not (
            isinstance(concurrency, int) and not isinstance(concurrency, bool) and 1 <= concurrency < 2**31
        ):
            raise InvalidJob(
                f"concurrency: a whole number of at least 1, or None for no limit, not {concurrency!r}"
            )
        self._store.limit(name, concurrency)

    def age(self, name: str, every: float | timedelta | None) -> None:
        """
        Let the priority of jobs that wait in a queue rise with time, so that none waits for ever.

        A job counts as one priority higher for each ``every`` that it has waited since it was created, was last due
        (``run_at``, ``delay``, a retry) or was requeued. The priority that it shows stays as declared.

        Args:
            name: The queue.
            every: Seconds or a timedelta, above 0; None for never.

        Raises:
            InvalidJob: An argument cannot be accepted.
        """
        check_name(name, "name")
        ageing = microseconds(every)
        if every is not None and not ageing:
            raise InvalidJob(f"every: seconds above 0, a timedelta, or None for never, not {every!r}")
        self._store.age(name, ageing)

    def queues(self) -> list[dict[str, Any]]:
        """
        List the queues that have jobs or settings, by name.

        Returns:
            A dictionary each: ``name``, ``paused_at`` (ISO 8601 in UTC; None if it is not paused), ``reason``,
            ``concurrency`` (None for no limit), ``ageing`` (seconds a priority; None for never), and ``jobs``: how many
            by status, as :meth:`stats` has them.
        """
        return [
            {
                "name": row.name,
                "paused_at": None if row.paused_at is None else to_iso(row.paused_at),
                "reason": row.reason,
                "concurrency": row.concurrency,
                "ageing": None if row.ageing is None else row.ageing / SECOND,
                "jobs": by_status(row.jobs),
            }
            for row in self._store.queues()
        ]

    def limit_key(
        self,
        key: str,
        *,
        concurrency: int | EllipsisType | None = ...,
        rate: limits.Rate | EllipsisType | None = ...,
        reset: bool = False,
    ) -> None:
        """
        Set a limit at run time, for all workers and from now on, whatever the jobs of that key declare.

        What is running goes on: with less than before, nothing starts until there is room.

        Args:
            key: As the limits of jobs spell it when it is filled in, such as ``"host:example.org"``.
            concurrency: How many may run at once; None for no bound. What is not given stays as it is.
            rate: As of a :class:`Limit`; None for no bound.
            reset: Let what the newest job of that key declares count again, and end a back-off; alone.

        Raises:
            InvalidJob: naming the argument that cannot be accepted, or a key to be reset that no job has had.
        """
        limits.known_key(key, "limit_key: key")
        if reset:
            if concurrency is not ... or rate is not ...:
                raise InvalidJob("limit_key: reset: goes alone, without concurrency and rate")
            if not self._store.reset_limit(key):
                raise InvalidJob(
                    f"limit_key: key: no limit {key!r} is known, as 'gigq limit list' shows them"
                )
            return
        self._store.set_limit(key, limits.setting(concurrency, rate, "limit_key: "))

    def limits(self, key: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """
        List the limits that jobs have declared or somebody has set.

        Args:
            key: Only that one.
            limit: How many at most.

        Returns:
            A dictionary each, by key: ``key``, ``concurrency`` and ``rate`` as they are in force (None for no bound),
            ``set_here`` (which of the two somebody has set with :meth:`limit_key`), ``running`` (what the jobs cost
            that run now), ``started`` (what the starts cost that the rate counts), ``waiting`` (how many jobs wait
            for it, with other limits or without) and ``backs_off_until`` (ISO 8601, or None).
        """
        if not isinstance(limit, int) or limit < 0:
            raise InvalidJob(f"limit: a whole number from 0 up, not {limit!r}")
        return [_shown_limit(row) for row in self._store.limits(key, limit, self.clock.now())]


def _shown_limit(row: dict[str, Any]) -> dict[str, Any]:
    """A row of ``limit_list`` as callers see it."""
    until = row["backs_off_until"]
    set_here = [name for name in ("concurrency", "rate") if row[f"{name}_is_set"]]
    return {
        "key": row["key"],
        "concurrency": row["concurrency"],
        "rate": limits.shown_rate(row["amount"], row["per"]),
        "set_here": set_here,
        "running": row["running"],
        "started": row["started"],
        "waiting": row["waiting"],
        "backs_off_until": None if until is None else to_iso(until),
    }


def by_status(counted: dict[str, int]) -> dict[str, int]:
    """Every status, and ``total``."""
    counts = {status.value: counted.get(status.value, 0) for status in JobStatus}
    return {**counts, "total": sum(counts.values())}
