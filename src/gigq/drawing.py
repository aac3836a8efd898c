"""Draws a graph of jobs as text, Mermaid or SVG: in layers, parents above children, many jobs alike as one box."""

from __future__ import annotations

import html
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Literal, NamedTuple

from gigq.errors import InvalidJob
from gigq.log import harmless

Form = Literal["text", "mermaid", "svg"]
FORMS: tuple[Form, ...] = ("text", "mermaid", "svg")

_ALIKE = 4
"""So many jobs of one name in one layer are drawn one by one; more of them as one box."""
_BOXES = 100
"""More boxes than that, and what is in one layer is drawn as one."""
_LAYERS = 200
_LONGEST = 40
"""Characters of a name."""
_PLACE = re.compile(r"\[\d+\]$")


class Node(NamedTuple):
    """A job."""

    id: str
    name: str
    status: str | None
    """None before it is submitted."""
    parents: Sequence[str]
    """Ids; those of others than the nodes are left out."""


class _Box:
    """One job, or many alike."""

    def __init__(self, layer: int) -> None:
        self.layer = layer
        self.names: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.parents: set[int] = set()
        """Places of boxes."""

    @property
    def jobs(self) -> int:
        return self.names.total()

    @property
    def label(self) -> str:
        [(name, _)] = self.names.most_common(1)
        if len(self.names) > 1:
            return f"{self.jobs:,} jobs"
        shown = harmless(name).replace("\n", " ").replace("\t", " ")
        shown = shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
        return shown if self.jobs == 1 else f"{shown} ({self.jobs:,} jobs)"

    @property
    def state(self) -> str:
        """``completed``, or ``990 completed, 10 failed``; empty before it is submitted."""
        if self.jobs == 1:
            return next(iter(self.statuses), "")
        return ", ".join(f"{n:,} {status}" for status, n in self.statuses.most_common())

    @property
    def color(self) -> str:
        """The status that says most of it."""
        return next((status for status in _COLORS if self.statuses[status]), "")


_COLORS = {
    "failed": "#f8d7da",
    "timeout": "#f8d7da",
    "running": "#cff4fc",
    "pending": "#fff3cd",
    "cancelled": "#e2e3e5",
    "completed": "#d1e7dd",
}
"""Status -> how its boxes are filled; the first ones say more than the later ones."""


def check(form: str) -> None:
    """InvalidJob, if there is no such form."""
    if form not in FORMS:
        raise InvalidJob(f"form: one of {', '.join(FORMS)}, not {form!r:.100}")


def draw(title: str, nodes: Sequence[Node], form: Form = "text") -> str:
    """Draw a graph.

    Raises:
        InvalidJob: there is no such form.
    """
    check(form)
    boxes = _boxes(nodes)
    head = harmless(title).replace("\n", " ")[: 2 * _LONGEST]
    return _DRAWN_AS[form](f"{head} ({len(nodes):,} job{'s' * (len(nodes) != 1)})", boxes)


def _boxes(nodes: Sequence[Node]) -> list[_Box]:
    places = {node.id: place for place, node in enumerate(nodes)}
    parents = [[places[parent] for parent in node.parents if parent in places] for node in nodes]
    layers = _layers(parents)
    names = [_PLACE.sub("", node.name) for node in nodes]
    alike = Counter(zip(layers, names, strict=True))
    keys: list[Hashable] = [
        (layer, name) if alike[layer, name] > _ALIKE else (layer, name, place)
        for place, (layer, name) in enumerate(zip(layers, names, strict=True))
    ]
    if len(set(keys)) > _BOXES:
        keys = [min(layer, _LAYERS) for layer in layers]  # the last one holds whatever is deeper
    boxes: dict[Hashable, _Box] = {}
    for key in sorted(range(len(nodes)), key=lambda place: layers[place]):
        boxes.setdefault(keys[key], _Box(layers[key]))
    numbers = {key: number for number, key in enumerate(boxes)}
    for place, node in enumerate(nodes):
        box = boxes[keys[place]]
        box.names[node.name if keys[place] == (layers[place], names[place], place) else names[place]] += 1
        if node.status is not None:
            box.statuses[node.status] += 1
        box.parents.update(numbers[keys[parent]] for parent in parents[place])
    found = list(boxes.values())
    for number, box in enumerate(found):
        box.parents.discard(number)
    _leave_out_detours(found)
    return found


def _layers(parents: list[list[int]]) -> list[int]:
    """For each node the length of the longest way to it; those in a circle come last."""
    children: list[list[int]] = [[] for _ in parents]
    left = [len(above) for above in parents]
    for place, above in enumerate(parents):
        for parent in above:
            children[parent].append(place)
    layers = [-1] * len(parents)
    free = [place for place, n in enumerate(left) if n == 0]
    for place in free:
        layers[place] = 0
    deepest = 0
    while free:
        place = free.pop()
        deepest = max(deepest, layers[place])
        for child in children[place]:
            layers[child] = max(layers[child], layers[place] + 1)
            left[child] -= 1
            if left[child] == 0:
                free.append(child)
    return [layer if left[place] == 0 else deepest + 1 for place, layer in enumerate(layers)]


def _leave_out_detours(boxes: list[_Box]) -> None:
    """An edge that a longer way stands for says nothing."""
    above: list[set[int]] = []
    for box in boxes:  # in the order of the layers, so parents come first, but in a circle
        known = [parent for parent in box.parents if parent < len(above)]
        over: set[int] = set().union(*(above[parent] for parent in known))
        box.parents -= over
        above.append(over | set(known))


def _as_text(title: str, boxes: list[_Box]) -> str:
    labels = [box.label for box in boxes]
    states = [box.state for box in boxes]
    widths = [max(map(len, column), default=0) for column in (labels, states)]
    lines = [title]
    for number, box in enumerate(boxes):
        after = ", ".join(labels[parent] for parent in sorted(box.parents))
        cells = [f"{box.layer + 1:>3}", labels[number].ljust(widths[0])]
        cells += [states[number].ljust(widths[1])] if widths[1] else []
        lines.append("  ".join([*cells, f"after {after}" if after else ""]).rstrip())
    return "\n".join(lines)


def _as_mermaid(title: str, boxes: list[_Box]) -> str:
    lines = ["---", f"title: {_spelled(title, html.escape)}", "---", "flowchart TD"]
    for number, box in enumerate(boxes):
        text = "<br/>".join(_spelled(part, _entity) for part in (box.label, box.state) if part)
        kind = f":::{box.color}" if box.color else ""
        lines.append(f'    n{number}["{text}"]{kind}')
    lines += [
        f"    n{parent} --> n{number}" for number, box in enumerate(boxes) for parent in sorted(box.parents)
    ]
    seen = {box.color for box in boxes}
    lines += [
        f"    classDef {status} fill:{fill},color:#222" for status, fill in _COLORS.items() if status in seen
    ]
    return "\n".join(lines)


def _spelled(text: str, spell: Callable[[str], str]) -> str:
    """Names are anybody's: what is no letter, digit or harmless sign is spelled."""
    return re.sub(r"[^\w (),.…-]", lambda found: spell(found[0]), text)


def _entity(character: str) -> str:
    return f"#{ord(character)};"


_WIDE, _HIGH, _GAP, _DROP, _EDGE = 7.4, 44, 24, 46, 20
"""Of a character, of a box, between boxes, between layers, around it all; in pixels."""


def _as_svg(title: str, boxes: list[_Box]) -> str:
    rows: defaultdict[int, list[int]] = defaultdict(list)
    for number, box in enumerate(boxes):
        rows[box.layer].append(number)
    widths = [max(len(box.label), len(box.state), 6) * _WIDE + _EDGE for box in boxes]
    spans = {layer: sum(widths[n] for n in row) + _GAP * (len(row) - 1) for layer, row in rows.items()}
    width = max([*spans.values(), len(title) * 9]) + 2 * _EDGE
    corners: dict[int, tuple[float, float]] = {}
    for depth, layer in enumerate(sorted(rows)):
        x = (width - spans[layer]) / 2
        for number in _untangled(rows[layer], boxes, corners):
            corners[number] = (x, 2.5 * _EDGE + depth * (_HIGH + _DROP))
            x += widths[number] + _GAP
    height = max((y for _, y in corners.values()), default=0) + _HIGH + _EDGE
    size = f'width="{width:.0f}" height="{height:.0f}"'
    head = html.escape(title)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="sans-serif" font-size="12">',
        f"<title>{head}</title>",
        f'<text x="{_EDGE}" y="{1.3 * _EDGE}" font-weight="bold" font-size="14">{head}</text>',
    ]
    for number, box in enumerate(boxes):
        parts += [
            _edge(corners[parent], widths[parent], corners[number], widths[number])
            for parent in sorted(box.parents)
        ]
    parts += [_drawn(box, *corners[number], widths[number]) for number, box in enumerate(boxes)]
    return "\n".join([*parts, "</svg>"])


def _untangled(row: list[int], boxes: list[_Box], corners: dict[int, tuple[float, float]]) -> list[int]:
    """The boxes of a layer from left to right: each beneath the middle of its parents."""

    def middle(number: int) -> float:
        above = [corners[parent][0] for parent in boxes[number].parents if parent in corners]
        return sum(above) / len(above) if above else 0.0

    return sorted(row, key=middle)


def _edge(start: tuple[float, float], start_width: float, end: tuple[float, float], end_width: float) -> str:
    x, y = start[0] + start_width / 2, start[1] + _HIGH
    to_x, to_y = end[0] + end_width / 2, end[1]
    bend = (to_y - y) / 2
    way = f"M{x:.1f} {y:.1f}C{x:.1f} {y + bend:.1f} {to_x:.1f} {to_y - bend:.1f} {to_x:.1f} {to_y:.1f}"
    tip = f"M{to_x - 4:.1f} {to_y - 7:.1f}L{to_x:.1f} {to_y:.1f}L{to_x + 4:.1f} {to_y - 7:.1f}"
    return f'<path d="{way}{tip}" fill="none" stroke="#888"/>'


def _drawn(box: _Box, x: float, y: float, width: float) -> str:
    lines = [line for line in (box.label, box.state) if line]
    first = y + _HIGH / 2 + 4 - 8 * (len(lines) - 1)
    texts = "".join(
        f'<text x="{x + width / 2:.1f}" y="{first + 16 * place:.1f}" text-anchor="middle">{html.escape(line)}</text>'
        for place, line in enumerate(lines)
    )
    fill = _COLORS.get(box.color, "#f8f9fa")
    shape = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_HIGH}" rx="6" fill="{fill}" stroke="#888"/>'
    return shape + texts


_DRAWN_AS: dict[str, Callable[[str, list[_Box]], str]] = {
    "text": _as_text,
    "mermaid": _as_mermaid,
    "svg": _as_svg,
}
