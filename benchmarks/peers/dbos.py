"""DBOS on PostgreSQL: workflows on a queue, put there by its client, drained by its own threads."""

from __future__ import annotations

from typing import Any

from benchmarks import jobs
from benchmarks.peers.measuring import stopwatch, wait_until
from benchmarks.peers.peer import Peer, Taken

_QUEUE = "benchmark"

PEERS = (
    Peer(
        name="DBOS 3.4",
        module=__name__,
        environment="dbos-3.4.0",
        requires=("dbos==3.4.0",),
        submit="PostgreSQL's defaults: nothing is lost by a crash or a power cut",
        drain="result and status kept; durable; a crashed workflow is resumed; PostgreSQL on the same cores",
        settings="no limit of concurrency, polled every 50 ms",
        durable=True,
        singly=300,
        drained=300,
        server="postgres",
    ),
)


def submit_and_drain(folder: str, count: int, *, bulk: bool, server: str) -> Taken:
    import dbos as library

    if bulk:
        raise ValueError("DBOS has no bulk call")
    address = server.replace("postgresql://", "postgresql+psycopg://")
    config: Any = {"name": "benchmark", "system_database_url": address, "log_level": "ERROR"}
    _launch(library, config)  # makes its tables
    library.DBOS.destroy()
    client = library.DBOSClient(system_database_url=address, application_name="benchmark")
    with stopwatch() as submitting:
        for n in range(count):
            client.enqueue({"workflow_name": "tick", "queue_name": _QUEUE}, n)
    client.destroy()
    with stopwatch() as draining:
        _launch(library, config)
        wait_until(
            lambda: not library.DBOS.list_workflows(status=["ENQUEUED", "PENDING"], limit=1), every=0.05
        )
    library.DBOS.destroy()
    return Taken(submitting.seconds, draining.seconds, jobs.called)


def _launch(library: Any, config: Any) -> None:
    library.DBOS(config=config)
    library.DBOS.workflow(name="tick")(jobs.tick)
    library.DBOS.launch()
    library.DBOS.register_queue(_QUEUE, polling_interval_sec=0.05)
