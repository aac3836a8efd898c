"""Workers: their seats, and what they leave behind."""

from __future__ import annotations

import os
from typing import Any

from gigq import ids
from gigq.store import graph
from gigq.store.rows import Seat, Who, WorkerRow
from gigq.store.sidecar import Sidecar
from gigq.store.transaction import as_json
from gigq.store.verbs import PIECE, Verbs


def is_dead(row: WorkerRow, sidecar: Sidecar) -> bool:
    """Whether a worker that has not said good-bye will never do so."""
    here = ids.boot_id()
    if row.boot and here and row.boot != here:
        return True
    if row.sidecar == sidecar.identity:
        return not sidecar.is_alive(row.area)
    # It holds its life lock on a sidecar that was replaced. Living, it will notice and stop.
    born = ids.process_birth(row.pid)
    return row.pid != os.getpid() and "" not in (born, row.birth) and born != row.birth


class Workers(Verbs):
    """The verbs about workers and about jobs that none of them can run."""

    def register(self, who: Who, now: int) -> Seat:
        """Take a seat; the life lock is held before anybody can see the worker."""
        least = 0
        while True:
            with self._writing(ring=False) as tx:
                tx.run(
                    "register_worker",
                    worker_id=who.worker_id,
                    pid=who.pid,
                    birth=who.birth,
                    host=who.host,
                    boot=who.boot,
                    sidecar=self.engine.sidecar.identity,
                    least=least,
                    now=now,
                    queues=None if who.serving.is_everything else as_json(who.serving.entries),
                )
                row = tx.row("worker_just_registered")
                assert row is not None  # noqa: S101 - just inserted
                number, area = row
                life = self.engine.sidecar.live(area)
                if life is not None:
                    return Seat(number, area, life)
                # Somebody who has said good-bye still holds this area's lock.
                tx.run("forget_worker", number=number)
                least = area + 1

    def retire(self, number: int, now: int) -> None:
        """Say good-bye for a worker whose runs are all settled."""
        with self._writing(ring=False) as tx:
            tx.run("retire_worker", number=number, now=now)

    def forget(self, number: int) -> None:
        """Take out a worker that has never run anything."""
        with self._writing(ring=False) as tx:
            tx.run("forget_worker", number=number)

    def workers(self) -> list[WorkerRow]:
        """Those that have not said good-bye."""
        with self._reading() as tx:
            return tx.array("live_workers", WorkerRow)

    def held_imports(self) -> list[dict[str, Any]]:
        """held_by, function_module, function_name, script of what some worker could not import: one of each."""
        with self._reading() as tx:
            return tx.records("held_imports")

    def release_held(self, held_by: str, name: str, script: str | None) -> int:
        with self._writing() as tx:
            return tx.run("release_held", held_by=held_by, name=name, script=script, limit=PIECE)

    def fail_held(self, since: int, now: int) -> int:
        """Fail what has been held for want of a module since before a moment; how many."""
        with self._reading() as tx:
            if tx.value("held_too_long", since=since, limit=1) == "[]":
                return 0
        with self._writing() as tx:
            held = tx.array("held_too_long", int, since=since, limit=PIECE)
            jobs = as_json(held)
            tx.run("count_jobs", jobs=jobs, sign=-1)
            tx.run("fail_held", jobs=jobs, now=now)
            tx.run("count_jobs", jobs=jobs, sign=1)
            graph.ended(tx, [], held, now)
        return len(held)
