"""Every kind of store, and hands to work on it; what a test leaves behind must be sound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import TurnedClock
from stores import KINDS, Hands, Kind, assert_sound, open_kind

from gigq.store import Store


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param
    return made


@pytest.fixture
def store(kind: Kind, tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = open_kind(kind, tmp_path)
    yield opened
    opened.engine.close()


@pytest.fixture
def hands(store: Store, clock: TurnedClock) -> Iterator[Hands]:
    """Hands on it; afterwards it must be sound."""
    made = Hands(store, clock)
    yield made
    assert_sound(made)
