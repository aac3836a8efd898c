"""litequeue on SQLite: a queue of texts without workers. A loop of ours pops one, calls, and marks it done."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import jobs
from benchmarks.peers.measuring import stopwatch
from benchmarks.peers.peer import Peer, Taken

PEERS = (
    Peer(
        name="litequeue 0.9",
        module=__name__,
        environment="litequeue-0.9",
        requires=("litequeue==0.9",),
        submit="synchronous=NORMAL: a power cut may take back the last moments",
        drain="popped, called, marked done: two transactions each, NORMAL; no results, retries or workers; "
        "after a crash somebody must look for what stayed locked",
        settings="WAL, NORMAL and 256 MB of cache, its defaults",
        durable=False,
        singly=2_000,
        drained=1_500,
    ),
)


def submit_and_drain(folder: str, count: int, *, bulk: bool) -> Taken:
    import litequeue as library

    if bulk:
        raise ValueError("litequeue has no bulk call")
    queue = library.LiteQueue(str(Path(folder) / "queue.db"))
    with stopwatch() as submitting:
        for n in range(count):
            queue.put(json.dumps({"n": n}))
    with stopwatch() as draining:
        while (message := queue.pop()) is not None:
            jobs.tick(**json.loads(message.data))
            queue.done(message.message_id)
    return Taken(submitting.seconds, draining.seconds, jobs.called)
