"""What is measured: a workload has quantities, and contenders who are sampled in turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers.peer import Peer

OURS = "gigq"
PEER = "gigq 0.5.1"
FLOOR = "bare loop"


@dataclass(frozen=True)
class Quantity:
    """One thing that a workload measures; ``reach`` and ``of_floor`` are what we want to reach."""

    key: str
    title: str
    unit: str
    higher_is_better: bool = True
    reach: float | None = None
    of_floor: float | None = None
    """Our share of the bare loop's rate (or its time of ours), in the same run."""
    compared: bool = True
    """Whether that share means anything."""


@dataclass(frozen=True)
class Contender:
    """Who is measured, by which function of which interpreter.

    ``function`` is ``module:name`` and is called in a fresh process with ``folder`` and the arguments.
    """

    who: str
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)
    promise: str = ""
    """What the figure includes, and what a crash or a power cut would lose."""
    peer: Peer | None = None
    """Whose interpreter it is, and whose server; None is ours."""
    needs: str = ""
    """A parameter of ``gigq.Worker`` without which it cannot be measured."""


@dataclass(frozen=True)
class Workload:
    """Contenders that do the same work, and what is measured of it."""

    name: str
    about: str
    quantities: tuple[Quantity, ...]
    contenders: tuple[Contender, ...]
    most_runs: int | None = None
    """Unless the number of runs is asked for: for what takes long and is an average by itself."""


@dataclass(frozen=True)
class Sample:
    """One run of one contender."""

    values: dict[str, float]
    """Quantity's key -> value; a contender may know only some."""
    exact: str | None = None
    """What the check at the end found, in words; None where no job is delivered."""
