"""Dramatiq on Redis: its worker with eight threads, its default."""

from __future__ import annotations

from benchmarks import jobs
from benchmarks.peers.measuring import stopwatch, wait_until
from benchmarks.peers.peer import Peer, Taken

PEERS = (
    Peer(
        name="Dramatiq 2.2",
        module=__name__,
        environment="dramatiq-2.2.1",
        requires=("dramatiq[redis]==2.2.1", "hiredis==3.5.0"),
        submit="in Redis' memory: its end, or a power cut, loses all",
        drain="no results, no history; in Redis' memory; a crashed worker's messages come back after a minute",
        settings="8 threads, its default; hiredis",
        durable=False,
        singly=2_000,
        drained=2_000,
        server="redis",
    ),
)


def submit_and_drain(folder: str, count: int, *, bulk: bool, server: str) -> Taken:
    import dramatiq as library
    from dramatiq.brokers.redis import RedisBroker

    if bulk:
        raise ValueError("Dramatiq has no bulk call")
    broker = RedisBroker(url=server)
    library.set_broker(broker)
    actor = library.actor(jobs.tick_without_result, broker=broker)
    with stopwatch() as submitting:
        for n in range(count):
            actor.send(n)
    worker = library.Worker(broker, worker_threads=8)
    with stopwatch() as draining:
        worker.start()
        wait_until(lambda: len(jobs.called) >= count)
    worker.stop()
    if broker.do_qsize(actor.queue_name):
        raise RuntimeError("messages are left over")
    return Taken(submitting.seconds, draining.seconds, jobs.called)
