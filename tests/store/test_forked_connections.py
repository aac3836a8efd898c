"""Connections never cross a fork: the child opens its own, and takes nothing from its parent."""

from __future__ import annotations

import contextlib
import gc
import os
import sqlite3
from collections.abc import Callable, Iterator

import pytest
from clocks import TurnedClock
from stores import Hands, assert_sound

from gigq import close_connections
from gigq.errors import StoreBusy
from gigq.store import Store, open_file


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    opened = open_file(db, "normal", create=True)
    yield opened
    opened.engine.close()


@pytest.fixture
def hands(store: Store, clock: TurnedClock) -> Hands:
    store.initialize()
    return Hands(store, clock)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def in_a_child(action: Callable[[], object]) -> None:
    """Do it in a forked child, which must find it true."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            code = 0 if action() else 2
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


@needs_fork
def test_a_child_opens_its_own_connection(hands: Hands) -> None:
    mine = hands.store.engine.connection()
    hands.submit("parent")

    def in_child() -> bool:
        hands.submit("child")
        return hands.store.engine.connection() is not mine and len(hands.ready()) == 2

    in_a_child(in_child)
    hands.submit("after")
    assert hands.store.engine.connection() is mine
    assert hands.ready() == ["parent", "child", "after"]
    assert_sound(hands)


@needs_fork
def test_a_child_that_forgets_everything_drops_no_lock_of_its_parent(db: str, hands: Hands) -> None:
    def forget() -> bool:
        close_connections()
        gc.collect()
        return True

    with hands.store.engine.writing() as connection:
        connection.execute("CREATE TABLE mine (a)")
        in_a_child(forget)
        other = sqlite3.connect(db, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
    assert hands.sql("SELECT count(*) FROM mine") == [(0,)]


@needs_fork
def test_a_child_waits_for_its_parents_turn(hands: Hands) -> None:
    def try_to_write() -> bool:
        with contextlib.suppress(StoreBusy), hands.store.engine.writing(wait=0.05):
            return False
        return True

    with hands.store.engine.writing():
        in_a_child(try_to_write)

    def write() -> bool:
        hands.submit("child")
        return True

    in_a_child(write)
    assert hands.ready() == ["child"]
