"""One child process, as its worker sees it: two pipes, the calls it has, and how it is ended."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from typing import Any

from gigq.worker import family, wire
from gigq.worker.calls import Call
from gigq.worker.executors import interpreter

_CHUNK = 256 * 1024
_MOST_AT_ONCE = 4 * 1024 * 1024
"""Bytes read from one child before the others have their turn."""
ASK = 1.0
"""Seconds that a call has to end after it was asked to, before its process gets a SIGTERM."""


class Process:
    """A warm child. Nothing here waits, but :meth:`end`."""

    def __init__(self, setup: wire.Setup) -> None:
        self.token = secrets.token_hex(8)
        self.calls: dict[int, Call] = {}
        """Sent and not answered for, in the order in which they were sent; the first is the one that runs."""
        self.coroutines: dict[int, Call] = {}
        self.bytes = 0
        """Of params that were sent and not answered for."""
        self.load = 0
        """Nanoseconds of work that are estimated to be left in ``calls``."""
        self.sent = 0
        """Calls, in all."""
        self.returned = 0
        """Of them those that it gave back without a start."""
        self.is_slow = False
        """Whether the call that runs takes longer than was thought, so that nothing is to wait behind it."""
        self.exceeded = False
        """Whether it was ended for its use of memory."""
        self.is_watched = False
        """Whether room in its pipe is waited for."""
        self.is_garbled = False
        """Whether it was ended for what it said."""
        self.is_ready = False
        self.alone: Call | None = None
        """The call that must have it for itself."""
        self.recalled_at = 0
        """How many calls it had been sent when it was asked last for those that have not started."""
        self.recalled_for_loop = False
        """Whether they go back to the queue, and not to another child."""
        self.is_closing = False
        self.asked: Call | None = None
        """The call for whose sake it will be ended by force."""
        self.force_at = 0
        """Monotonic nanoseconds of the next step of that."""
        self.ended_for: str | None = None
        """Why the worker has ended it."""
        self._terminated = False
        self._family: dict[int, str] = {}
        self._ooms = family.oom_kills()
        self._out = bytearray()
        self._unpacker = wire.Unpacker(wire.ToParent)
        self._popen = self._start()
        self.pid = self._popen.pid
        self._pidfd = _watch_death(self.pid)
        self.send(setup)

    def _start(self) -> subprocess.Popen[bytes]:
        """Pipes, not a socket: it takes so many small messages that a child need not wait for its worker to hear them."""
        theirs_in, self.write_fd = os.pipe()
        self._read_fd, theirs_out = os.pipe()
        try:
            for fd in (self.write_fd, self._read_fd):
                os.set_blocking(fd, False)
                _widen(fd)
            return subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
                interpreter.command(str(theirs_out)),
                stdin=theirs_in,
                pass_fds=[theirs_out],
                env={**os.environ, family.TOKEN: self.token},
                process_group=0,
            )
        except BaseException:
            os.close(self.write_fd)
            os.close(self._read_fd)
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)

    def filenos(self) -> list[int]:
        """Descriptors that become readable when it says something, or dies."""
        return [self._read_fd, *([] if self._pidfd is None else [self._pidfd])]

    def find(self, slot: int) -> Call | None:
        """A call that it has not answered for."""
        return self.calls.get(slot) or self.coroutines.get(slot)

    def take(self, slot: int) -> Call | None:
        """The same, answered for now."""
        call = self.calls.pop(slot, None)
        if call is not None:
            self.load -= call.estimate
            self.is_slow = False
        elif (call := self.coroutines.pop(slot, None)) is None:
            return None
        if call.lease.params is not None:
            self.bytes -= len(call.lease.params)
        if call is self.alone:
            self.alone = None
        if call is self.asked:
            self.asked = None
            for other in self.outstanding():
                if other.asked is not None:
                    self._force_later(other, time.monotonic_ns())
                    break
        return call

    def head(self) -> Call | None:
        """The plain call that runs, or is about to."""
        return next(iter(self.calls.values()), None)

    def is_idle(self) -> bool:
        """Whether it has answered for every call."""
        return not self.calls and not self.coroutines

    def outstanding(self) -> list[Call]:
        """Every call that it has not answered for."""
        return [*self.calls.values(), *self.coroutines.values()]

    def wants_to_write(self) -> bool:
        return bool(self._out)

    def send(self, message: Any) -> None:
        """Say something, now or when there is room in the pipe."""
        self._out += wire.frame(message)
        self.flush()

    def flush(self) -> None:
        out = self._out
        while out:
            try:
                sent = os.write(self.write_fd, out)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # it is dead, as will be seen
                out.clear()
                return
            del out[:sent]

    def receive(self) -> list[Any]:
        """What it has said."""
        messages: list[Any] = []
        total = 0
        while total < _MOST_AT_ONCE and not self.is_garbled:
            try:
                data = os.read(self._read_fd, _CHUNK)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                data = b""
            if not data:
                break
            total += len(data)
            try:
                messages += self._unpacker.feed(data)
            except ValueError:  # a job has written to descriptors that are not its own
                self.is_garbled = True
                self.kill("what its process said made no sense: the job has written to descriptors of gigq")
                break
            if len(data) < _CHUNK:
                break
        return messages

    def is_dead(self) -> bool:
        return self._popen.poll() is not None

    def memory(self) -> int | None:
        """Bytes resident."""
        return family.memory(self.pid)

    # -- to an end ---------------------------------------------------------------------------------------------

    def ask_to_stop(self, call: Call, now: int) -> None:
        """Ask a call to stop; force follows (see :meth:`force`), for the first that was asked and has not ended."""
        self.send(wire.Stop(call.slot))
        if self.asked is None:
            self._force_later(call, now)

    def _force_later(self, call: Call, now: int) -> None:
        self.asked = call
        self.force_at = now + int(ASK * 1e9)

    def force(self, now: int, kill_grace: float) -> None:
        """The next step: SIGTERM, then an end of the whole family."""
        if not self._terminated:
            self._terminated = True
            self._family = family.descendants(self.pid)
            self.force_at = now + int(kill_grace * 1e9)
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGTERM)
        else:
            self.kill("it did not stop when it was asked to")

    def kill(self, why: str) -> None:
        """SIGKILL, with all that its jobs have started."""
        if self.ended_for is None:
            self.ended_for = why
        family.end(None if self.is_dead() else self.pid, self.token, self._family)

    @property
    def is_forced(self) -> bool:
        """Whether it has been ended by us, or been told to end."""
        return self._terminated or self.ended_for is not None

    def bury(self) -> str:
        """After its death: end what it has left behind, close what it had, and say how it died."""
        code = self._popen.wait()
        family.end(None, self.token, self._family)
        self._close()
        if code >= 0:
            return f"its process ended with exit code {code} while running"
        if code == -signal.SIGKILL and family.oom_kills() > self._ooms:
            return "out of memory: its process was killed by the kernel while running"
        return f"killed by signal {-code}{_name(-code)} while running"

    def close(self, patience: float) -> None:
        """End it in good order; by force if that takes too long (seconds)."""
        self.send(wire.Close())
        until = time.monotonic() + patience
        while not self.is_dead():
            if time.monotonic() >= until:
                self.kill("the worker ended")
                break
            self.flush()
            time.sleep(0.002)
        self._popen.wait()
        self._close()

    def _close(self) -> None:
        for fd in (self.write_fd, self._read_fd):
            with contextlib.suppress(OSError):
                os.close(fd)
        self.write_fd = self._read_fd = -1
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def _widen(fd: int) -> None:
    """Let a pipe hold a megabyte, where that can be had."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1024 * 1024)


def _watch_death(pid: int) -> int | None:
    """A descriptor that becomes readable when a process ends, whoever else holds its sockets."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _name(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:
        return ""
