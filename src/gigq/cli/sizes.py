"""Amounts of memory as people write them."""

from __future__ import annotations

import re
from typing import Any

import click

_WRITTEN = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?(?:([kmgt]?)(i?)b)?", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class Size(click.ParamType):  # type: ignore[type-arg] # generic since click 8.4 only
    """``512MB``, ``2GB``, ``1.5GiB``, or plain bytes; a number of bytes."""

    name = "size"

    def __init__(self, least: int) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        written = _WRITTEN.fullmatch(value.strip())
        if written is None:
            # A bare M is a million to some and 1024 * 1024 to others.
            self.fail(f"{value!r} is no size; write it as 512MB, 2GB, 1.5GiB, or in plain bytes.", param, ctx)
        number, unit, binary = written.groups(default="")
        size: int = round(float(number) * (1024 if binary else 1000) ** _POWERS[unit.lower()])
        if size < self._least:
            self.fail(f"{value!r} is less than {self._least:,} bytes.", param, ctx)
        return size
