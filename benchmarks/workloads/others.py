"""The peers as contenders."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.peers import measuring
from benchmarks.peers.peer import Peer
from benchmarks.plan import Contender

_FULL_FORM = 4
"""Times as many jobs as in the quick form."""


def submit_one_by_one(peers: Iterable[Peer], *, quick: bool) -> list[Contender]:
    return [
        _contender(peer, measuring.submit_one_by_one, peer.singly, peer.submit, quick=quick) for peer in peers
    ]


def submit_bulk(peers: Iterable[Peer], *, quick: bool) -> list[Contender]:
    return [
        _contender(peer, measuring.submit_bulk, peer.bulk, peer.submit, quick=quick)
        for peer in peers
        if peer.bulk is not None
    ]


def drain(peers: Iterable[Peer], *, quick: bool) -> list[Contender]:
    return [
        _contender(peer, measuring.drain, peer.drained, peer.drain, quick=quick, bulk=peer.bulk is not None)
        for peer in peers
    ]


def _contender(peer: Peer, measure: Any, count: int, promise: str, *, quick: bool, **more: Any) -> Contender:
    count *= 1 if quick else _FULL_FORM
    return Contender(
        peer.name,
        f"{measuring.__name__}:{measure.__name__}",
        {"peer": peer.module, "count": count, **peer.arguments, **more},
        f"{count:,} jobs; {promise}; {peer.settings}",
        peer=peer,
    )
