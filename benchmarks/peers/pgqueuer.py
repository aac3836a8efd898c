"""PgQueuer on PostgreSQL: asyncpg, uvloop and batches of 100."""

from __future__ import annotations

from typing import Any

from benchmarks import jobs
from benchmarks.peers.measuring import stopwatch
from benchmarks.peers.peer import Peer, Taken

PEERS = (
    Peer(
        name="PgQueuer 1.6",
        module=__name__,
        environment="pgqueuer-1.6.0",
        requires=("pgqueuer[asyncpg]==1.6.0", "uvloop==0.23.0"),
        submit="PostgreSQL's defaults: nothing is lost by a crash or a power cut",
        drain="no results; the job is deleted and logged; durable; PostgreSQL on the same cores",
        settings="asyncpg, uvloop, batches of 100",
        durable=True,
        singly=1_000,
        bulk=20_000,
        drained=20_000,
        server="postgres",
    ),
)


def submit_and_drain(folder: str, count: int, *, bulk: bool, server: str) -> Taken:
    import uvloop

    taken: Taken = uvloop.run(_submit_and_drain(count, server, bulk=bulk))
    return taken


async def _submit_and_drain(count: int, server: str, *, bulk: bool) -> Taken:
    import asyncpg
    import pgqueuer as library
    from pgqueuer.domain.types import QueueExecutionMode

    connection = await asyncpg.connect(server)
    queue: Any = library.PgQueuer.from_asyncpg_connection(connection)
    await queue.queries.install()
    queue.entrypoint("tick")(_tick)
    with stopwatch() as submitting:
        if bulk:
            await queue.queries.enqueue(
                ["tick"] * count, [str(n).encode() for n in range(count)], [0] * count
            )
        else:
            for n in range(count):
                await queue.queries.enqueue("tick", str(n).encode())
    with stopwatch() as draining:
        await queue.run(batch_size=100, mode=QueueExecutionMode.drain)
    await connection.close()
    return Taken(submitting.seconds, draining.seconds, jobs.called)


async def _tick(job: Any) -> None:
    jobs.tick(int(job.payload))
