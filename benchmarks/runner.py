"""Runs workloads: contenders in turns, each sample in a fresh process and an empty folder."""

from __future__ import annotations

import inspect
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gigq
from benchmarks import child
from benchmarks.peers import environments
from benchmarks.peers.peer import PeerMissing
from benchmarks.peers.servers import Servers
from benchmarks.plan import FLOOR, OURS, Contender, Quantity, Sample, Workload


@dataclass
class Series:
    """The samples of one contender, in the order of the rounds."""

    contender: Contender
    samples: list[Sample] = field(default_factory=list)
    trouble: str | None = None
    """Why there are no more samples: something is wrong."""
    skipped: str | None = None
    """Why there are none: what it needs is not here."""
    detail: str = ""
    """What a program said of that, on this machine only."""

    def values(self, key: str) -> list[float]:
        return [sample.values[key] for sample in self.samples if key in sample.values]


@dataclass
class Measured:
    """A workload and what came of it."""

    workload: Workload
    series: list[Series]

    def of(self, who: str) -> Series | None:
        return next((one for one in self.series if one.contender.who == who), None)

    def ratios(self, series: Series, quantity: Quantity) -> list[float]:
        """How a contender stands to the bare loop, round by round: 1 is as fast."""
        floor = self.of(FLOOR)
        if floor is None or floor is series or not quantity.compared:
            return []
        pairs = zip(series.values(quantity.key), floor.values(quantity.key), strict=False)
        if quantity.higher_is_better:
            return [value / bare for value, bare in pairs if bare]
        return [bare / value for value, bare in pairs if value]

    def reached(self, quantity: Quantity) -> bool | None:
        """Whether we reach what the quantity is to reach; None where it names nothing."""
        ours = self.of(OURS)
        if ours is None or not ours.values(quantity.key):
            return None
        verdicts = []
        if quantity.reach is not None:
            median = statistics.median(ours.values(quantity.key))
            verdicts.append(
                median >= quantity.reach if quantity.higher_is_better else median <= quantity.reach
            )
        if quantity.of_floor is not None and (ratios := self.ratios(ours, quantity)):
            verdicts.append(statistics.median(ratios) >= quantity.of_floor)
        return all(verdicts) if verdicts else None


def measure(
    workload: Workload,
    runs: int,
    folder: Path,
    servers: Servers,
    say: Callable[[str], None],
) -> Measured:
    """Sample every contender ``runs`` times, in turns, so that a noisy minute hits them all."""
    measured = Measured(
        workload,
        [Series(contender, skipped=_what_is_missing(contender)) for contender in workload.contenders],
    )
    for turn in range(runs):
        for series in _rotated(measured.series, turn):
            if series.trouble is None and series.skipped is None:
                say(f"{workload.name}: run {turn + 1}, {series.contender.who}")
                _sample(series, folder, servers)
    return measured


def _rotated(series: list[Series], turn: int) -> Iterator[Series]:
    """Whoever goes first finds the disk at rest: everybody does once."""
    for place in range(len(series)):
        yield series[(place + turn) % len(series)]


def _what_is_missing(contender: Contender) -> str | None:
    if contender.needs and contender.needs not in inspect.signature(gigq.Worker).parameters:
        return f"not measured: this gigq's Worker has no {contender.needs!r}"
    return None


def _sample(series: Series, folder: Path, servers: Servers) -> None:
    contender, peer = series.contender, series.contender.peer
    scratch = tempfile.mkdtemp(dir=folder)
    arguments = {"folder": scratch, **contender.arguments}
    try:
        python = sys.executable
        if peer is not None:
            python = environments.python(peer.environment, peer.requires)
            if peer.server is not None:
                arguments["server"] = servers.fresh(peer.server)
        found = child.answer(child.start(contender.function, arguments, python))
        series.samples.append(Sample(**found))
    except PeerMissing as missing:
        series.skipped, series.detail = f"not measured: {missing}", missing.detail
    except child.SampleFailed as error:
        series.trouble = str(error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
