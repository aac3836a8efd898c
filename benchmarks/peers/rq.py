"""RQ on Redis: SimpleWorker, which does not fork for each job."""

from __future__ import annotations

from benchmarks import jobs
from benchmarks.peers.measuring import stopwatch
from benchmarks.peers.peer import Peer, Taken

PEERS = (
    Peer(
        name="RQ 3.0",
        module=__name__,
        environment="rq-3.0.0",
        requires=("rq==3.0.0", "hiredis==3.5.0"),
        submit="in Redis' memory: its end, or a power cut, loses all",
        drain="result kept for 500 s, its default; in Redis' memory; a crash of the worker is noticed later",
        settings="SimpleWorker (no fork for each job), hiredis, burst",
        durable=False,
        singly=500,
        bulk=500,
        drained=500,
        server="redis",
    ),
)


def submit_and_drain(folder: str, count: int, *, bulk: bool, server: str) -> Taken:
    import redis
    import rq as library

    connection = redis.Redis.from_url(server)
    queue = library.Queue(connection=connection)
    with stopwatch() as submitting:
        if bulk:
            queue.enqueue_many([queue.prepare_data(jobs.tick, kwargs={"n": n}) for n in range(count)])
        else:
            for n in range(count):
                queue.enqueue(jobs.tick, n=n)
    worker = library.SimpleWorker([queue], connection=connection)
    with stopwatch() as draining:
        worker.work(burst=True, logging_level="ERROR")
    return Taken(submitting.seconds, draining.seconds, jobs.called)
