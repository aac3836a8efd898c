"""The guards, taken out one at a time: a rig that does not notice proves nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Set
from sqlite3 import Connection

from gigq.ids import mark_key
from gigq.lease import Lease
from gigq.marks import Mark
from gigq.store import connections, statements
from gigq.store.gate import FileGate
from gigq.store.rows import Settlement, WorkerRow
from gigq.store.sidecar import FileSidecar
from gigq.worker.chores.rescue import Rescue
from gigq.worker.executors.process import Process
from gigq.worker.executors.processes import Processes


def install(name: str) -> None:
    """Break one guard in this process."""
    _MUTATIONS[name]()


def _without_fence() -> None:
    """Whoever reports a run settles its job, however late."""
    texts = statements.load()
    for name in ("settle_completed", "settle_ended"):
        text, n = re.subn(r"\s+AND job\.execution_id = .*\Z", "", texts[name], flags=re.DOTALL)
        assert n == 1, texts[name]
        texts[name] = text
    for name in texts:
        if name.startswith("record_"):  # the key (job, run) is a fence of its own
            texts[name] = texts[name].replace("INSERT INTO", "INSERT OR REPLACE INTO")


def _without_gate() -> None:
    """Nobody waits for a turn: SQLite's busy handling is all there is."""
    FileGate.acquire = lambda self, timeout, when_free=None: True  # type: ignore[method-assign]
    FileGate.release = lambda self: None  # type: ignore[method-assign]


def _without_life() -> None:
    """Every other worker seems dead."""
    FileSidecar.is_alive = lambda self, area: False  # type: ignore[method-assign]


def _without_marks() -> None:
    """A rescuer takes whatever a dead worker had claimed for running."""
    real = Rescue._of_the_dead

    def of_the_dead(
        self: Rescue, lease: Lease, row: WorkerRow, marks: dict[bytes, Mark], asked: Set[str]
    ) -> Settlement:
        running = {mark_key(lease.lease): Mark(time.monotonic_ns(), is_over=False)}
        return real(self, lease, row, running, asked)

    Rescue._of_the_dead = of_the_dead  # type: ignore[method-assign]


def _without_parents() -> None:
    """Children are ready at once."""
    texts = statements.load()
    for name in ("claim_choose", "peek"):
        texts[name] = texts[name].replace(" AND parents_left = 0", "").replace("INDEXED BY job_ready", "")


def _without_fsync() -> None:
    """A commit is handed to the operating system, and that is that."""
    real = connections.prepare

    def prepare(connection: Connection, durability: connections.Durability) -> None:
        real(connection, durability)
        connection.execute("PRAGMA synchronous = OFF")

    connections.prepare = prepare


def _without_question() -> None:
    """What a child has not answered for is given back, or to another, without asking whether it has started."""

    def recall(self: Processes, child: Process, *, for_loop: bool) -> None:
        taken = [call for call in child.outstanding()[1:] if child.take(call.slot) is not None]
        self._take_back(taken, to_loop=for_loop)

    Processes._recall = recall  # type: ignore[method-assign]


_MUTATIONS: dict[str, Callable[[], None]] = {
    "fence": _without_fence,
    "gate": _without_gate,
    "life": _without_life,
    "marks": _without_marks,
    "parents": _without_parents,
    "fsync": _without_fsync,
    "question": _without_question,
}
