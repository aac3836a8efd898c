"""Sees, and strikes at, the system calls by which a process and its children change files.

``python tracer.py '{"record": ...}' program words...`` runs the program in place of itself, so that its process id,
its exit code and its output are the program's, while a process beside it traces it with ptrace(2): nothing is needed
but Python on Linux. A seccomp filter stops the program at the calls that matter only; all else runs at full speed.

What is recorded has two positions, at the entry of the call and at its exit, in one order over all threads and
processes of the program. A strike falls at the entry of a call, before it has done anything.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import signal
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

if TYPE_CHECKING:
    import pytest

NEVER = 2**62
"""The position of an exit that did not come."""

CALLS = {
    "write": 1,
    "open": 2,
    "pread64": 17,
    "pwrite64": 18,
    "writev": 20,
    "fsync": 74,
    "fdatasync": 75,
    "truncate": 76,
    "ftruncate": 77,
    "rename": 82,
    "creat": 85,
    "unlink": 87,
    "openat": 257,
    "unlinkat": 263,
    "renameat": 264,
    "fallocate": 285,
    "pwritev": 296,
    "renameat2": 316,
}
"""By their numbers on x86-64."""
_NAMES = {number: name for name, number in CALLS.items()}
_ON_DESCRIPTOR = frozenset(
    {"write", "pread64", "pwrite64", "writev", "pwritev", "fsync", "fdatasync", "ftruncate", "fallocate"}
)
_OPENS = frozenset({"open", "openat", "creat"})
_HERE = -100
"""AT_FDCWD."""


class Event(msgspec.Struct, array_like=True):
    """One call on a file that is watched."""

    call: str
    path: str
    process: int
    begin: int
    end: int = NEVER
    value: int = 0
    """What it returned; minus the error number if it failed."""
    offset: int = 0
    """Of a write; the length that a truncation leaves."""
    data: bytes = b""
    creates: bool = False
    """Of an open: the file was not there."""
    to: str = ""
    """Of a rename."""

    @property
    def done(self) -> bool:
        return self.end != NEVER and self.value >= 0


class Orders(msgspec.Struct, forbid_unknown_fields=True):
    """What a tracer is to do."""

    under: str
    """The calls on files in this folder count, on those whose name ends in one of ``names`` and on the folder itself."""
    names: list[str] = []
    """Empty for all."""
    record: str | None = None
    """Where the events go, once the program and all its children have ended."""
    calls: list[str] = []
    """At which to strike."""
    at: int = 0
    """The first one that is struck, counted over all of them; 0 for none."""
    times: int = 1
    """How many are struck, of those that follow each other."""
    how: str = "kill"
    """``kill`` the process, or the name of the error that the call returns, such as ``EIO``."""


def needed() -> pytest.MarkDecorator:
    """A mark that skips where there is no tracing; on Linux in CI it must be there."""
    import pytest  # the tracer itself starts without it

    can = sys.platform.startswith("linux") and platform.machine() == "x86_64"
    must = bool(os.environ.get("CI")) and sys.platform.startswith("linux")
    reason = f"the tracer knows Linux on x86-64 only, this is {sys.platform} on {platform.machine()}"
    return pytest.mark.skipif(not can and not must, reason=reason)


def command(orders: Orders) -> list[str]:
    """What to put before a program."""
    return [sys.executable, str(Path(__file__)), msgspec.json.encode(orders).decode()]


def await_events(record: Path) -> list[Event]:
    """What was recorded, in the order of the entries; the tracer outlives the program by a moment."""
    until = time.monotonic() + 60
    while not record.exists():
        assert time.monotonic() < until, "the tracer has not written its record"
        time.sleep(0.005)
    return msgspec.msgpack.decode(record.read_bytes(), type=list[Event])


# -- the kernel's interface -------------------------------------------------------------------------------------------

_PTRACE_CONT, _PTRACE_POKEUSER, _PTRACE_SYSCALL = 7, 6, 24
_PTRACE_SEIZE, _PTRACE_LISTEN, _PTRACE_GET_SYSCALL_INFO = 0x4206, 0x4208, 0x420E
_FORK, _VFORK, _CLONE, _EXEC, _SECCOMP, _STOP = 1, 2, 3, 4, 7, 128
_OPTIONS = (
    1 | 2 | 4 | 8 | 16 | 1 << _SECCOMP | 1 << 20
)  # TRACESYSGOOD, FORK, VFORK, CLONE, EXEC, and EXITKILL
_WALL = 0x40000000
_ORIG_RAX, _RAX = 15 * 8, 10 * 8
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_PTRACER = 38, 22, 0x59616D61
_ARCH = 0xC000003E
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000
_INFO = struct.Struct("<B3xIQQ7Q")
"""struct ptrace_syscall_info: op, arch, instruction and stack pointer, then number and arguments, or the return value."""

if sys.platform.startswith("linux"):
    _libc = ctypes.CDLL(None, use_errno=True)
    _libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    _libc.ptrace.restype = ctypes.c_long
    _libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


def _ptrace(request: int, thread: int, address: int = 0, data: object = 0) -> None:
    if _libc.ptrace(request, thread, address, data) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _prctl(option: int, *values: int) -> None:
    if _libc.prctl(option, *values, *[0] * (4 - len(values))) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl {option}: {os.strerror(code)}")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _stop_at_calls(orders: Orders) -> None:
    """From now on the calls that matter stop for the tracer."""

    def line(code: int, yes: int, no: int, value: int) -> bytes:
        return struct.pack("<HBBI", code, yes, no, value)

    load, if_equal, give = 0x20, 0x15, 0x06
    wanted = orders.calls if orders.record is None else [name for name in CALLS if name != "pread64"]
    numbers = [CALLS[name] for name in wanted]
    text = [line(load, 0, 0, 4), line(if_equal, 0, len(numbers) + 1, _ARCH), line(load, 0, 0, 0)]
    text += [line(if_equal, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    text += [line(give, 0, 0, _ALLOW), line(give, 0, 0, _TRACE)]
    program = _Program(len(text), b"".join(text))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, 2, ctypes.addressof(program))


# -- the tracer -------------------------------------------------------------------------------------------------------


class Tracer:
    """One traced program: all its threads, and the processes it starts."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._folder = os.path.realpath(orders.under)
        self._position = 0
        self._matches = 0
        self._events: list[Event] = []
        self._under_way: dict[int, Event | None] = {}
        """Thread -> the call that it is in, None for one that is of no interest."""
        self._failing: set[int] = set()

    def run(self) -> None:
        """Until all have ended."""
        while True:
            try:
                thread, status = os.waitpid(-1, _WALL)
            except ChildProcessError:
                break
            if os.WIFSTOPPED(status):
                try:
                    self._stopped(thread, status)
                except ProcessLookupError:
                    self._under_way.pop(thread, None)  # killed meanwhile
            else:
                self._under_way.pop(thread, None)
        if self._orders.record is not None:
            there = Path(self._orders.record)
            new = there.with_suffix(".new")
            new.write_bytes(msgspec.msgpack.encode(self._events))
            new.replace(there)

    def _stopped(self, thread: int, status: int) -> None:
        number, event = os.WSTOPSIG(status), status >> 16
        if event == _SECCOMP:
            wants_exit = self._entered(thread)
            _ptrace(_PTRACE_SYSCALL if wants_exit else _PTRACE_CONT, thread)
        elif number == signal.SIGTRAP | 0x80:
            self._at_syscall(thread)
        elif event == _STOP and number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            _ptrace(_PTRACE_LISTEN, thread)
        elif event:
            _ptrace(_PTRACE_CONT, thread)
        else:  # a signal of its own, which it gets; in a call that goes on, its exit is still waited for
            _ptrace(_PTRACE_SYSCALL if thread in self._under_way else _PTRACE_CONT, thread, 0, number)

    def _info(self, thread: int) -> tuple[int, ...]:
        buffer = ctypes.create_string_buffer(_INFO.size + 8)
        _ptrace(_PTRACE_GET_SYSCALL_INFO, thread, _INFO.size, ctypes.addressof(buffer))
        return _INFO.unpack_from(buffer)

    def _entered(self, thread: int) -> bool:
        """Whether its exit is to be seen."""
        self._position += 1
        _, _, _, _, number, *arguments = self._info(thread)
        call = _NAMES.get(number)
        if call is None:
            return False
        event = self._event(thread, call, arguments)
        if event is None:
            return False
        self._events.append(event)
        if call in self._orders.calls:
            self._matches += 1
            if 0 < self._orders.at <= self._matches < self._orders.at + self._orders.times:
                self._strike(thread, event)
        self._under_way[thread] = event
        return True

    def _strike(self, thread: int, event: Event) -> None:
        if self._orders.how == "kill":
            event.data = b""
            os.kill(event.process, signal.SIGKILL)
        else:
            self._failing.add(thread)
            _ptrace(_PTRACE_POKEUSER, thread, _ORIG_RAX, 2**64 - 1)

    def _at_syscall(self, thread: int) -> None:
        operation, _, _, _, value, *_ = self._info(thread)
        if operation != 2:  # the entry again, after the filter has stopped it
            _ptrace(_PTRACE_SYSCALL, thread)
            return
        self._position += 1
        event = self._under_way.pop(thread, None)
        if thread in self._failing:
            self._failing.discard(thread)
            value = 2**64 - getattr(errno, self._orders.how)
            _ptrace(_PTRACE_POKEUSER, thread, _RAX, value)
        if event is not None:
            event.end = self._position
            event.value = value - 2**64 if value >= 2**63 else value
        _ptrace(_PTRACE_CONT, thread)

    def _event(self, thread: int, call: str, arguments: list[int]) -> Event | None:
        first, second, third, fourth, *_ = arguments
        if call in _ON_DESCRIPTOR:
            path = self._target(thread, first)
            if not self._is_watched(path):
                return None
            event = Event(call, path, _process(thread), self._position)
            if call in ("write", "pwrite64"):
                event.offset, event.data = (
                    fourth if call == "pwrite64" else -1,
                    _memory(thread, second, third),
                )
            elif call == "ftruncate":
                event.offset = second
            return event
        at, name = (first, second) if call.endswith(("at", "at2")) else (_HERE, first)
        path = self._named(thread, at, name)
        to = ""
        if call.startswith("rename"):
            to = self._named(thread, third, fourth) if "at" in call else self._named(thread, at, second)
        if not self._is_watched(path) and not self._is_watched(to):
            return None
        event = Event(call, path, _process(thread), self._position, to=to)
        if call in _OPENS:
            flags = {"open": second, "openat": third, "creat": os.O_CREAT | os.O_TRUNC}[call]
            event.creates = bool(flags & os.O_CREAT) and not os.path.lexists(path)
            if flags & os.O_TRUNC:
                event.offset = -1
            elif not event.creates:
                return None
        return event

    def _is_watched(self, path: str) -> bool:
        if not path.startswith(self._folder):
            return False
        names = self._orders.names
        return path == self._folder or not names or path.endswith(tuple(names))

    @staticmethod
    def _target(thread: int, fd: int) -> str:
        try:
            return str(Path(f"/proc/{thread}/fd/{fd & 0xFFFFFFFF}").readlink())
        except OSError:
            return ""

    def _named(self, thread: int, at: int, address: int) -> str:
        name = _text(thread, address)
        if not name.startswith("/"):
            here = at & 0xFFFFFFFF == _HERE & 0xFFFFFFFF
            folder = str(Path(f"/proc/{thread}/cwd").readlink()) if here else self._target(thread, at)
            name = f"{folder}/{name}"
        return os.path.normpath(name)


def _memory(thread: int, address: int, size: int) -> bytes:
    with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
        return os.pread(memory.fileno(), size, address)


def _text(thread: int, address: int) -> str:
    found = b""
    while b"\0" not in found:
        place = address + len(found)
        part = _memory(thread, place, 4096 - place % 4096)
        if not part:
            break
        found += part
    return os.fsdecode(found.partition(b"\0")[0])


def _process(thread: int) -> int:
    status = Path(f"/proc/{thread}/status").read_text()
    return int(status.partition("Tgid:")[2].split(None, 1)[0])


def _seize(program: int, ready: int, orders: Orders) -> NoReturn:
    _ptrace(_PTRACE_SEIZE, program, 0, _OPTIONS)
    os.write(ready, b"!")
    os.close(ready)
    Tracer(orders).run()
    os._exit(0)


def main(orders: Orders, program: list[str]) -> NoReturn:
    waiting, ready = os.pipe()
    me = os.getpid()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:  # the tracer is nobody's child, so that the program does not wait for it
            os.close(waiting)
            _seize(me, ready, orders)
        os._exit(0)
    os.close(ready)
    os.waitpid(child, 0)
    with contextlib.suppress(OSError):  # a kernel that lets anybody trace
        _prctl(_PR_SET_PTRACER, 2**64 - 1)
    if os.read(waiting, 1) != b"!":
        sys.exit("the tracer could not attach: is ptrace forbidden here?")
    os.close(waiting)
    _stop_at_calls(orders)
    os.execv(program[0], program)


def lines(record: Path) -> Iterator[str]:
    """For a person to read."""
    for event in await_events(record):
        yield (
            f"{event.begin:6} {event.end if event.end != NEVER else '-':>6} {event.call:9} {event.value:5} "
            f"{Path(event.path).name} {event.offset} {len(event.data)}{' new' if event.creates else ''}"
        )


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Orders), sys.argv[2:])
