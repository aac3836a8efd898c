"""A worker's child process: runs calls for the worker that has started it, and knows of no database.

The worker speaks on its standard input, and hears on a pipe of its own. A thread listens on it; jobs run in the main thread, coroutines on a
loop of their own. Each start is marked, and each result written before the next start, so that whatever happens to
this process costs one run. Without its worker it ends, with all that its jobs have started.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import fcntl
import importlib
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from gigq import callables, errors, shield
from gigq.clock import SYSTEM
from gigq.errors import StoreError
from gigq.ids import mark_key
from gigq.lease import Lease
from gigq.marks import Place, open_marks
from gigq.newjob import NewJob
from gigq.worker import capture, family, wire
from gigq.worker.lane import Lane
from gigq.worker.notes import Notes
from gigq.worker.runner import Ended, ParentRows, Runner, wait_in_own_loop

_CHUNK = 256 * 1024
_EVERY = 0.1
"""Seconds between two deliveries of what running jobs say, and between two askings of one that has not heard."""
_LOOKS = 0.5
"""Seconds that a job which looks whether it is to stop has to end in its own way, before that is raised in it."""


class _Run:
    """A call here; see runner.Run."""

    __slots__ = (
        "answer",
        "asked",
        "cancel",
        "facts",
        "given",
        "grown",
        "inside",
        "is_async",
        "key",
        "looks",
        "slot",
        "started",
        "tell_at",
        "told",
        "turned_async",
    )

    def __init__(
        self, lease: Lease, slot: int, *, is_async: bool, given: list[wire.ParentRow] | None
    ) -> None:
        self.facts = lease
        self.slot = slot
        self.key = mark_key(lease.lease)
        self.is_async = is_async
        self.given = given
        """Its parents, if they came with it."""
        self.started = 0
        self.cancel: Callable[[], object] | None = None
        self.inside = False
        self.asked = False
        """Whether it is to stop."""
        self.looks = False
        """Whether it has ever looked for that."""
        self.tell_at = 0.0
        """When that is to be raised in it, monotonic seconds."""
        self.told = False
        """Whether it was."""
        self.turned_async = is_async
        self.answer: wire.Answer | None = None
        self.grown: list[NewJob] | None = None


class Child:
    """This process, as its worker's child."""

    def __init__(self, read: int, write: int, setup: wire.Setup) -> None:
        """Args:
        read: the pipe from the worker.
        write: the pipe to it.
        setup: its first word.
        """
        self._read = read
        self._write = write
        self._sending = threading.Lock()
        self._tells_starts = setup.tells_starts
        self._async_slots = setup.async_slots
        self.max_params = setup.max_params
        self._runs: dict[int, _Run] = {}
        """Every call that has not been answered for."""
        self._waiting: deque[_Run] = deque()
        self._arrived = threading.Event()
        self._answered = threading.Condition()
        self._current: _Run | None = None
        """What runs in the main thread."""
        self._main = threading.get_ident()
        self._asking: list[_Run] = []
        """Calls that were asked to stop, and may not have heard it."""
        self._stopping = self._closing = False
        self._begun = 0
        """Changes whenever a run begins, before its function is called."""
        self._read_wake, self._write_wake = socket.socketpair()
        self._write_wake.setblocking(False)
        self._pid = os.getpid()
        os.register_at_fork(after_in_child=self._forget_worker)
        self._notes: Notes[_Run] = Notes(self._wake_listener)
        self._marks = marks = open_marks(Place(setup.marks_path, setup.marks_offset))
        self._runner: Runner[_Run] = Runner(self, marks, SYSTEM, self._notes, setup.max_result, ctrl_c=False)
        self._lane: Lane[_Run] | None = None

    def _forget_worker(self) -> None:
        """A job has forked: the copy is no child of the worker, and must not speak, or run, as one."""
        self._marks.forget()
        for fd in (self._read, self._write):
            with contextlib.suppress(OSError):
                os.close(fd)
        self._read_wake.close()
        self._write_wake.close()

    # -- the main thread ---------------------------------------------------------------------------------------

    def serve(self, unpacker: wire.Unpacker) -> None:
        """Run what comes, until the worker says that no more will."""
        shield.register()
        signal.signal(signal.SIGUSR2, self._on_ask)
        threading.Thread(target=self._listen, args=[unpacker], name="gigq-listener", daemon=True).start()
        waiting, arrived = self._waiting, self._arrived
        while True:
            try:
                run = waiting.popleft()
            except IndexError:
                if self._closing and (self._lane is None or self._lane.is_idle()):
                    return
                arrived.wait(_EVERY if self._closing else None)
                arrived.clear()
                continue
            self._current = run
            if run.asked:
                self._give_back([run])
            else:
                self._deliver(run, self._runner.run(run, self._wait))
            self._current = None

    def _wait(self, coroutine: Any, run: _Run) -> Any:
        run.turned_async = True
        return wait_in_own_loop(coroutine, run)

    def _on_ask(self, _number: int, _frame: FrameType | None) -> None:
        run = self._current
        if run is not None and run.asked and run.inside and not run.told:
            run.told = True
            shield.ask_here()

    def _deliver(self, run: _Run, ended: Ended) -> None:
        if os.getpid() != self._pid:
            os._exit(0)  # the job has forked, and come back in the copy too
        if run.asked:
            self._end_what_it_started(run)
        if self._notes:
            self._send_notes(run)
        self._runs.pop(run.slot, None)
        if run.grown and ended.end == "returned":
            self._send(wire.Grown(run.slot, run.grown))
        self._send(
            wire.Done(
                run.slot,
                ended.end,
                run.started,
                ended.ended,
                ended.result,
                ended.error,
                run.turned_async,
                ended.delay,
                ended.backs_off,
            )
        )

    def _end_what_it_started(self, run: _Run) -> None:
        """It was asked to stop, and its programs have not heard of that; those of a run beside it are spared."""
        begun = self._begun
        while self._current in (None, run) and (self._lane is None or self._lane.is_idle()):
            found = family.descendants(os.getpid()) | family.marked(os.environ.get(family.TOKEN, ""))
            found.pop(os.getpid(), None)
            if self._begun != begun or not family.kill_all(found):
                return

    # -- what runs ask; see runner.Office ----------------------------------------------------------------------

    def started(self, run: _Run) -> None:
        self._begun += 1
        if self._tells_starts:
            with _shielded():
                self._send(wire.Started(run.slot))

    def load(self, module: str, name: str, script: str | None) -> Callable[..., Any]:
        return callables.load(module, name, script)

    def params(self, run: _Run) -> str:
        return self._ask(run, "params", 0).params or "null"

    def parents(self, run: _Run, limit: int) -> ParentRows:
        if run.given is not None:
            return run.given
        return self._ask(run, "parents", limit).parents or []

    def is_asked_to_stop(self, run: _Run) -> bool:
        run.looks = True
        return run.asked or self._stopping

    def room_to_grow(self, run: _Run, parents: list[str]) -> int:
        return self._ask(run, "room", 0, parents).room or 0

    def _ask(self, run: _Run, what: str, limit: int, ids: Sequence[str] = ()) -> wire.Answer:
        run.answer = None
        with _shielded():  # an exception in the midst would leave the lock taken
            self._send(wire.Ask(run.slot, what, limit, list(ids)))
            with self._answered:
                self._answered.wait_for(lambda: run.answer is not None)
        answer = run.answer
        assert answer is not None  # noqa: S101 - just waited for
        if answer.refusal is not None:
            raise getattr(errors, answer.kind or "ParentResultsTooLarge")(answer.refusal)
        if answer.trouble is not None:
            raise StoreError(answer.trouble)
        return answer

    # -- the listener ------------------------------------------------------------------------------------------

    def _listen(self, unpacker: wire.Unpacker) -> None:
        try:
            self._listen_on(unpacker)
        except BaseException:  # noqa: BLE001 - deaf, it could not be stopped and would not notice the end of its worker
            with contextlib.suppress(Exception):
                traceback.print_exc()
            self._end_cut_off()

    def _listen_on(self, unpacker: wire.Unpacker) -> None:
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        poll.register(self._read_wake, select.POLLIN)
        told_at = 0.0
        while True:
            # The first word after a silence goes at once: it may be the last before the process dies.
            now = time.monotonic()
            if self._notes and now - told_at >= _EVERY:
                told_at = now
                self._send_notes(None)
            self._asking = [run for run in self._asking if self._ask_again(run)]
            busy = bool(self._notes or self._asking)
            events = dict(poll.poll(_EVERY * 1000 if busy else None))
            if self._read_wake.fileno() in events:
                self._read_wake.recv(4096)
            if self._read in events:
                data = os.read(self._read, _CHUNK)
                if not data:
                    _end_orphaned()
                for message in unpacker.feed(data):
                    self._hear(message)

    def _hear(self, message: wire.ToChild) -> None:
        match message:
            case wire.Calls():
                self._take(message)
            case wire.Recall():
                self._recall()
            case wire.Stop(slot):
                run = self._runs.get(slot)
                if run is not None and self._ask_to_stop(run):
                    self._asking.append(run)
            case wire.Stopping():
                self._stopping = True
            case wire.Answer():
                run = self._runs.get(message.slot)
                if run is not None:
                    with self._answered:
                        run.answer = message
                        self._answered.notify_all()
            case wire.Close():
                self._closing = True
                self._arrived.set()

    def _take(self, calls: wire.Calls) -> None:
        given = calls.given
        runs = [
            _Run(lease, slot, is_async=calls.are_async, given=given.get(lease.seq) if given else None)
            for slot, lease in zip(calls.slots, calls.leases, strict=True)
        ]
        self._runs.update([(run.slot, run) for run in runs])
        if not calls.are_async:
            self._waiting.extend(runs)
            self._arrived.set()
            return
        if self._lane is None:
            self._lane = Lane(self._async_slots, self._runner, self._deliver)
        self._lane.add(runs)

    def _recall(self) -> None:
        taken = self._lane.recall() if self._lane is not None else []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._waiting.pop())
        self._give_back(taken)

    def _give_back(self, runs: list[_Run]) -> None:
        for run in runs:
            self._runs.pop(run.slot, None)
        self._send(wire.Returned([run.slot for run in runs]))

    def _ask_to_stop(self, run: _Run) -> bool:
        """Whether it must be asked again, since it may not have heard."""
        run.asked = True
        run.tell_at = time.monotonic() + (_LOOKS if run.looks else 0.0)
        if run.is_async and self._lane is not None and self._lane.take(run):
            self._give_back([run])
            return False
        try:
            self._waiting.remove(run)
        except ValueError:
            return self._ask_again(run)
        self._give_back([run])
        return False

    def _ask_again(self, run: _Run) -> bool:
        if run.told or self._runs.get(run.slot) is not run:
            return False
        if time.monotonic() < run.tell_at:
            return True
        if run.is_async and self._lane is not None:
            run.told = True
            self._lane.stop(run)
        elif run.cancel is not None:
            run.told = True
            with contextlib.suppress(RuntimeError):  # its loop has just ended
                run.cancel()
        elif run is self._current:
            signal.pthread_kill(self._main, signal.SIGUSR2)
        return True

    def _wake_listener(self) -> None:
        with contextlib.suppress(OSError):  # full, so it will wake; or in a copy that a job has forked
            self._write_wake.send(b"!")

    def _send_notes(self, run: _Run | None) -> None:
        for one, note in self._notes.take(run):
            done, total, message = note.progress or (None, None, None)
            self._send(wire.Said(one.slot, done, total, message, note.progress is not None, note.text))

    def _send(self, message: Any) -> None:
        data = wire.frame(message)
        try:
            with self._sending:
                sent = os.write(self._write, data)
                while sent < len(data):
                    data = data[sent:]
                    sent = os.write(self._write, data)
        except OSError as error:
            if error.errno != errno.EPIPE:
                self._end_cut_off()
            _end_orphaned()

    def _end_cut_off(self) -> None:
        """A job has closed the way to the worker: what runs here is as lost as if it had died in its midst."""
        if os.getpid() == self._pid:
            for run in [*self._runs.values(), self._current]:
                if run is not None and run.started:
                    self._marks.write(run.slot, run.key, run.started)
            _end_orphaned()
        os._exit(1)


@contextlib.contextmanager
def _shielded() -> Any:
    shield.enter()
    try:
        yield
    finally:
        shield.leave()


def _end_orphaned() -> None:
    """The worker is gone, and what runs here will be run by another: end it now, with all that it has started."""
    family.end(None, os.environ.get(family.TOKEN, ""), family.descendants(os.getpid()))
    os._exit(1)


def _set_up(setup: wire.Setup) -> str | None:
    """Become like the worker; None, or why not."""
    sys.path[:] = setup.sys_path
    sys.argv[:] = setup.argv
    for name in setup.imports:
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 - told to the worker, which ends
            return f"cannot import {name}: {type(error).__name__}: {error}"
    return None


def _take_pipes() -> tuple[int, int]:
    """The pipes from and to the worker, out of the way of jobs, and of the programs that they start.

    High numbers: a job that closes all descriptors, and opens others, must not find ours among them.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    least = max(3, min(limit, 1024) - 64)
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, least) for fd in (0, int(sys.argv[1]))]
    os.close(int(sys.argv[1]))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return high[0], high[1]


def main() -> None:
    """Speak with the worker until it says that this is over."""
    # Ctrl-C is for the worker. Not ignored, which the programs that jobs start would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    faulthandler.enable()
    read, write = _take_pipes()
    unpacker = wire.Unpacker(wire.ToChild)
    messages: list[Any] = []
    while not messages:
        data = os.read(read, _CHUNK)
        if not data:
            os._exit(1)
        messages = unpacker.feed(data)
    setup = messages.pop(0)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with capture.capturing(forgiving=True):
        trouble = _set_up(setup)
        child = Child(read, write, setup)
        child._send(wire.Ready(trouble))
        if trouble is not None:
            return  # what came along was meant for a child that has all it needs
        for message in messages:
            child._hear(message)
        child.serve(unpacker)
