"""What there is to say of another queue, before it is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Server = Literal["redis", "postgres"]


@dataclass(frozen=True)
class Peer:
    """Another queue: where it is had, what it promises, how it is set.

    ``module`` runs under the peer's own interpreter and has ``submit_and_drain(folder, count, *, bulk, server,
    **arguments) -> Taken``; see :mod:`benchmarks.peers.measuring`.
    """

    name: str
    module: str
    environment: str
    """The folder of its virtual environment, below ``.venvs``."""
    requires: tuple[str, ...]
    """Pinned, as pip takes them; the first one is the peer itself."""
    submit: str
    """What a submission promises: what a crash and a power cut lose."""
    drain: str
    """What draining includes: results, history, and what a crash loses."""
    settings: str
    """Documented settings that make it fast."""
    durable: bool
    """Whether an acknowledged submission survives a power cut."""
    singly: int
    """Jobs of a quick sample when they are submitted one by one; the full form takes four times as many."""
    drained: int
    bulk: int | None = None
    """None where it has no call that submits many."""
    server: Server | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """Seconds that the two halves took, and the parameter of every call."""

    submitting: float
    draining: float
    called: list[int]


class PeerMissing(Exception):
    """A peer cannot be measured here; the message says why, and what would help.

    ``detail`` is what a program said, and is not for publishing: it may name machines and paths.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail.strip()[-500:]
