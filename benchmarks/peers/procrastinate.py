"""Procrastinate on PostgreSQL: one worker with ten coroutines."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks import jobs
from benchmarks.peers.measuring import stopwatch
from benchmarks.peers.peer import Peer, Taken

PEERS = (
    Peer(
        name="Procrastinate 3.10",
        module=__name__,
        environment="procrastinate-3.10.0",
        requires=("procrastinate==3.10.0", "psycopg[binary]==3.3.9"),
        submit="PostgreSQL's defaults: nothing is lost by a crash or a power cut",
        drain="no results; events kept; durable; PostgreSQL on the same cores",
        settings="concurrency 10, psycopg's C",
        durable=True,
        singly=500,
        bulk=1_000,
        drained=500,
        server="postgres",
    ),
)


def submit_and_drain(folder: str, count: int, *, bulk: bool, server: str) -> Taken:
    return asyncio.run(_submit_and_drain(count, server, bulk=bulk))


async def _submit_and_drain(count: int, server: str, *, bulk: bool) -> Taken:
    import procrastinate as library

    app: Any = library.App(connector=library.PsycopgConnector(conninfo=server, max_size=12))
    task = app.task(name="tick")(_tick)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        with stopwatch() as submitting:
            if bulk:
                await task.batch_defer_async(*({"n": n} for n in range(count)))
            else:
                for n in range(count):
                    await task.defer_async(n=n)
        with stopwatch() as draining:
            await app.run_worker_async(wait=False, concurrency=10, install_signal_handlers=False)
    return Taken(submitting.seconds, draining.seconds, jobs.called)


async def _tick(n: int) -> None:
    jobs.tick(n)
