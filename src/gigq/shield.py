"""Keeps the exception that asks an abandoned thread to stop out of gigq's own code.

A thread that runs a job can only be asked to stop by an exception that arrives between any two of its instructions,
those between taking a lock and noting it included. While such a thread is inside a shield, the exception waits.
"""

from __future__ import annotations

import ctypes
import threading


class Asked(BaseException):
    """Raised in a thread whose job ran past its timeout, or is not waited for any more."""


class _Thread:
    """What is known of a thread that may be asked."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.depth = 0
        self.is_asked = False


class _Mine(threading.local):
    thread: _Thread | None = None


_mine = _Mine()
_threads: dict[int, _Thread] = {}


def register() -> None:
    """Let this thread be asked to stop."""
    _mine.thread = _threads[threading.get_ident()] = _Thread()


def unregister() -> None:
    _threads.pop(threading.get_ident(), None)
    _mine.thread = None


def ask_to_stop(ident: int) -> None:
    """Raise :class:`Asked` in a registered thread: now, or when it leaves its shield."""
    thread = _threads.get(ident)
    if thread is None:
        return
    with thread.guard:
        if thread.depth:
            thread.is_asked = True
        else:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Asked))


def ask_here() -> None:
    """For a signal handler: raise :class:`Asked` in this thread, now or when it leaves its shield.

    Takes no lock, since the handler may have interrupted the thread while it held it.
    """
    thread = _mine.thread
    if thread is not None and thread.depth:
        thread.is_asked = True
        return
    raise Asked


def hold() -> None:
    """Be asked no more until :func:`release`; an exception that is on its way is taken in here.

    For a thread that has run a job and is about to tell how that ended.
    """
    thread = _mine.thread
    while thread is not None:
        try:
            with thread.guard:
                thread.depth = 1
            _let_it_come()
        except Asked:
            continue
        return


def _let_it_come() -> None:
    """What another thread has raised in this one arrives at the next call of a function, and so here."""


def release() -> None:
    """Be ready to be asked again; what was asked meanwhile is void."""
    thread = _mine.thread
    if thread is not None:
        with thread.guard:
            thread.depth = 0
            thread.is_asked = False


def enter() -> None:
    """Begin a stretch that must not be interrupted."""
    thread = _mine.thread
    if thread is not None:
        with thread.guard:
            thread.depth += 1


def leave() -> None:
    """End it.

    Raises:
        Asked: somebody asked meanwhile.
    """
    thread = _mine.thread
    if thread is None:
        return
    with thread.guard:
        thread.depth -= 1
        asked = thread.is_asked and thread.depth == 0
        if asked:
            thread.is_asked = False
    if asked:
        raise Asked
