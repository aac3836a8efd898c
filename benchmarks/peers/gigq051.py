"""gigq 0.5.1, the reference implementation.

Its documented settings are all there are: WAL (always on) and ``concurrency``. Its API is the one we keep, so that
the workloads are the same lines; what it has not (``submit_many``, ``durability``) is in :mod:`benchmarks.api`.
"""

from __future__ import annotations

from benchmarks.peers.peer import Peer

PROMISE = "history kept; survives a power cut; a claim costs more the more jobs wait"
PEER = Peer(
    name="gigq 0.5.1",
    module="",  # its functions are the ones of the workloads
    environment="gigq-0.5.1",
    requires=("gigq==0.5.1",),
    submit="FULL: nothing is lost by a crash or a power cut",
    drain=PROMISE,
    settings="WAL, always on",
    durable=True,
    singly=600,
    drained=800,
)
