"""SAQ on Redis: its worker with ten slots in one event loop, its default."""

from __future__ import annotations

import asyncio

from benchmarks import jobs
from benchmarks.peers.measuring import stopwatch
from benchmarks.peers.peer import Peer, Taken

PEERS = (
    Peer(
        name="SAQ 0.26",
        module=__name__,
        environment="saq-0.26.4",
        requires=("saq[redis,hiredis]==0.26.4", "typing-extensions==4.16.0"),  # which it does not ask for
        submit="in Redis' memory: its end, or a power cut, loses all",
        drain="result kept for 600 s, its default; in Redis' memory; one event loop",
        settings="10 slots, its default; hiredis",
        durable=False,
        singly=2_000,
        drained=2_000,
        server="redis",
    ),
)


def submit_and_drain(folder: str, count: int, *, bulk: bool, server: str) -> Taken:
    if bulk:
        raise ValueError("SAQ has no bulk call")
    return asyncio.run(_submit_and_drain(count, server))


async def _submit_and_drain(count: int, server: str) -> Taken:
    import saq as library

    queue = library.Queue.from_url(server)
    await queue.connect()
    with stopwatch() as submitting:
        for n in range(count):
            await queue.enqueue("tick", n=n)
    worker = library.Worker(queue, functions=[("tick", _tick)])
    with stopwatch() as draining:
        working = asyncio.create_task(worker.start())
        while await queue.count("incomplete"):
            await asyncio.sleep(0.01)
    worker.event.set()
    await working
    await queue.disconnect()
    return Taken(submitting.seconds, draining.seconds, jobs.called)


async def _tick(context: object, *, n: int) -> int:
    return jobs.tick(n)
