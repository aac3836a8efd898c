"""K17: random graphs that fail, are cancelled, cleared, die and grow: all end, and each policy is kept to the letter."""

from __future__ import annotations

import contextlib
import random

import pytest
from clocks import TurnedClock
from graphs import History, violations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stores import Hands, assert_sound

from gigq.store import graph, open_memory


def live(dice: random.Random, size: int, budget: int) -> None:
    store = open_memory()
    with contextlib.closing(store.engine), pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "BUDGET", budget)
        history = History(Hands(store, TurnedClock()), dice, size)
        history.live()
        history.hands.finish()
        assert violations(history.seen(), history.called_off) == []
        assert history.without_what_was_added() == []
        assert {job.id for job in history.seen()} == history.expected
        assert_sound(history.hands)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(dice=st.randoms(use_true_random=False), size=st.integers(1, 12), budget=st.sampled_from([2, 5, 2000]))
def test_a_graph_ends_as_its_policies_say(dice: random.Random, size: int, budget: int) -> None:
    live(dice, size, budget)


@pytest.mark.parametrize("seed", range(3))
def test_a_graph_of_two_hundred(seed: int) -> None:
    live(random.Random(seed), 200, 2000)


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(20))
def test_many_graphs_of_two_hundred(seed: int) -> None:
    dice = random.Random(f"K17 {seed}")
    for _ in range(25):
        live(dice, 200, dice.choice([3, 40, 2000]))
