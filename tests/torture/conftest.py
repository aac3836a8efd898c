"""A rig for each torture, torn down whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig import Rig


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[Callable[[], Rig]]:
    """Rigs in folders of their own, for a test that needs several."""
    made: list[Rig] = []

    def make() -> Rig:
        folder = tmp_path / f"rig-{len(made)}"
        folder.mkdir()
        made.append(Rig(folder))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


@pytest.fixture
def rig(make_rig: Callable[[], Rig]) -> Rig:
    return make_rig()
