"""Who there is."""

from __future__ import annotations

from benchmarks.peers import celery, dbos, dramatiq, huey, litequeue, pgqueuer, procrastinate, rq, saq
from benchmarks.peers.peer import Peer, Server

_MODULES = (huey, litequeue, rq, dramatiq, celery, saq, procrastinate, pgqueuer, dbos)


def everybody() -> tuple[Peer, ...]:
    """All but gigq 0.5.1, whose functions are the workloads themselves."""
    return (*(peer for module in _MODULES for peer in module.PEERS),)


def with_servers(servers: frozenset[Server]) -> tuple[Peer, ...]:
    """Those on SQLite, and those whose server is asked for."""
    return (*(peer for peer in everybody() if peer.server is None or peer.server in servers),)
