"""Charts: horizontal bars on a logarithmic scale, as SVG that is readable on light and on dark pages."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from benchmarks.plan import Contender
from benchmarks.report import number
from benchmarks.runner import Measured

Kind = Literal["ours", "bare", "durable", "fragile"]
_WIDTH, _LEFT, _RIGHT, _ROW = 860, 190, 150, 22
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .group { font-weight: 600 }
  .soft { fill: #59636e }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .range { stroke: #1f2328; stroke-width: 1.5 }
  .ours { fill: #0969da } .bare { fill: #9198a1 } .durable { fill: #8250df } .fragile { fill: #d0a215 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .soft { fill: #9198a1 } .grid { stroke: #3d444d } .range { stroke: #e6edf3 }
    .ours { fill: #4493f8 } .bare { fill: #6e7681 } .durable { fill: #ab7df8 } .fragile { fill: #d29922 }
  }
"""
_LEGEND: tuple[tuple[Kind, str], ...] = (
    ("ours", "gigq"),
    ("bare", "bare loop: what SQLite allows"),
    ("durable", "others: a submitted job survives a power cut"),
    ("fragile", "others: it does not"),
)


@dataclass(frozen=True)
class Bar:
    """One contender: its runs' median, and their range."""

    who: str
    kind: Kind
    median: float
    least: float
    most: float


@dataclass(frozen=True)
class Group:
    """Bars beneath a heading."""

    title: str
    bars: Sequence[Bar]


CHARTS: dict[str, tuple[str, dict[str, str]]] = {
    "submit.svg": (
        "Submitting jobs",
        {
            "submit-1": "one by one, surviving a power cut",
            "submit-1-normal": "one by one, with gigq's durability=normal",
            "submit-bulk": "many in one call",
        },
    ),
    "drain.svg": (
        "Draining no-op jobs",
        {
            "drain-thread": "gigq with threads; the others as they are fast",
            "drain-process-1": "gigq with one process",
            "drain-process-2": "gigq with two processes",
        },
    ),
}
"""File -> its title, and the workloads whose rates it shows with their headings."""


def draw_all(everything: Iterable[Measured]) -> dict[str, str]:
    """File -> SVG, for the charts of which something was measured."""
    by_name = {measured.workload.name: measured for measured in everything}
    drawn = {}
    for file, (title, wanted) in CHARTS.items():
        groups = [Group(words, bars(by_name[name])) for name, words in wanted.items() if name in by_name]
        # A floor alone says nothing.
        groups = [group for group in groups if any(bar.kind != "bare" for bar in group.bars)]
        if groups:
            drawn[file] = draw(f"{title}, jobs a second (logarithmic)", groups)
    return drawn


def bars(measured: Measured, key: str = "rate") -> list[Bar]:
    """The fastest first."""
    found = [
        Bar(
            series.contender.who, _kind(series.contender), statistics.median(values), min(values), max(values)
        )
        for series in measured.series
        if (values := series.values(key))
    ]
    return sorted(found, key=lambda bar: -bar.median)


def _kind(contender: Contender) -> Kind:
    if contender.peer is not None:
        return "durable" if contender.peer.durable else "fragile"
    return "ours" if contender.who.startswith("gigq") else "bare"


def draw(title: str, groups: Sequence[Group]) -> str:
    """One SVG for all groups, on one scale."""
    values = [edge for group in groups for bar in group.bars for edge in (bar.least, bar.most)]
    low = math.floor(math.log10(min(values)))
    high = max(low + 1, math.ceil(math.log10(max(values))))

    def x(value: float) -> float:
        return round(_LEFT + (math.log10(value) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT), 1)

    top, marks = 62, []
    for group in groups:
        marks.append(f'<text class="group" x="12" y="{top + 15}">{escape(group.title)}</text>')
        top += _ROW
        for bar in group.bars:
            marks += _bar(bar, top, x)
            top += _ROW
        top += 8
    grid = [
        f'<line class="grid" x1="{x(10**power)}" y1="56" x2="{x(10**power)}" y2="{top}"/>'
        f'<text class="soft" x="{x(10**power)}" y="{top + 16}" text-anchor="middle">{10**power:,}</text>'
        for power in range(low, high + 1)
    ]
    height = top + 28
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
            f"<style>{_STYLE}</style>",
            f'<text class="title" x="12" y="22">{escape(title)}</text>',
            *_legend(),
            *grid,
            *marks,
            "</svg>",
            "",
        ]
    )


def _bar(bar: Bar, top: int, x: Callable[[float], float]) -> list[str]:
    middle = top + _ROW / 2
    width = max(1.0, round(x(bar.median) - _LEFT, 1))
    told = f"{bar.who}: {number(bar.least)} - {number(bar.most)}"
    return [
        f'<text x="{_LEFT - 8}" y="{top + 15}" text-anchor="end">{escape(bar.who)}</text>',
        f'<rect class="{bar.kind}" x="{_LEFT}" y="{top + 3}" width="{width}" height="{_ROW - 6}" rx="2">',
        f"<title>{escape(told)}</title></rect>",
        f'<line class="range" x1="{x(bar.least)}" y1="{middle}" x2="{x(bar.most)}" y2="{middle}"/>',
        f'<text x="{max(x(bar.median), x(bar.most)) + 6}" y="{top + 15}">{number(bar.median)}</text>',
    ]


def _legend() -> list[str]:
    marks, left = [], 12
    for kind, words in _LEGEND:
        marks.append(f'<rect class="{kind}" x="{left}" y="34" width="12" height="12" rx="2"/>')
        marks.append(f'<text class="soft" x="{left + 17}" y="44">{escape(words)}</text>')
        left += 34 + round(6.4 * len(words))
    return marks
