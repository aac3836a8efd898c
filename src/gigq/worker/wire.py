"""What a worker and its children say to each other: frames of msgpack over two pipes. No pickle.

A frame is four bytes of length and a message. Params and results travel as the JSON text that is stored: the parent
never decodes them.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from gigq import codec
from gigq.lease import Lease
from gigq.newjob import NewJob

_LENGTH = 4
_ARRAY = 0x9
"""The upper half of the first byte of every message: a short array."""

ParentRow = tuple[str, str | None, str | None, str | None]
"""Id, status, JSON text of the result and error of a job's parent."""


# -- to a child ------------------------------------------------------------------------------------------------


class Setup(Struct, array_like=True, tag=0):
    """The first word: what a child takes over from its parent."""

    sys_path: list[str]
    argv: list[str]
    imports: list[str]
    """Modules to import before the first job."""
    marks_path: str
    marks_offset: int
    max_result: int
    async_slots: int
    tells_starts: bool
    """Whether somebody reads when a job starts."""
    max_params: int = codec.MAX_PARAMS


class Calls(Struct, array_like=True, tag=1):
    """To be run in this order; the lists go side by side."""

    slots: list[int]
    """Name the calls on this wire; nobody else's until they have ended."""
    leases: list[Lease]
    """Without params where they are large: the child asks for them."""
    are_async: bool
    given: dict[int, list[ParentRow]]
    """Job number -> its parents, of those that are known to want them if they are not large."""


class Recall(Struct, array_like=True, tag=2):
    """A question: which calls have not started? Those that are answered will not."""


class Stop(Struct, array_like=True, tag=3):
    """Ask a call to stop, by an exception."""

    slot: int


class Stopping(Struct, array_like=True, tag=4):
    """The worker is about to end: every job that looks is told."""


class Answer(Struct, array_like=True, tag=5):
    """To an Ask."""

    slot: int
    params: str | None
    parents: list[ParentRow] | None
    refusal: str | None
    """Why there is no answer: what is asked for is too large to be passed, or cannot be."""
    trouble: str | None
    """Why there is none now: the database cannot be read."""
    room: int | None = None
    kind: str | None = None
    """The name of the class of errors that the refusal is of."""


class Close(Struct, array_like=True, tag=6):
    """No more calls will come: end after the last one."""


# -- to the parent ---------------------------------------------------------------------------------------------


class Ready(Struct, array_like=True, tag=0):
    """Set up, or why not."""

    trouble: str | None


class Started(Struct, array_like=True, tag=1):
    """Only where somebody reads it."""

    slot: int


class Done(Struct, array_like=True, tag=2, gc=False):
    """How a call ended; times are monotonic nanoseconds."""

    slot: int
    end: str
    started: int
    ended: int
    result: str | None
    error: str | None
    is_async: bool
    """Whether the function turned out to be a coroutine function."""
    delay: int | None
    """Microseconds until the job runs again, where the run or its policy says so."""
    backs_off: str | None
    """See control.Control."""


class Returned(Struct, array_like=True, tag=3):
    """The answer to a Recall: these have not started, and will not."""

    slots: list[int]


class Said(Struct, array_like=True, tag=4):
    """What a running job has printed, logged or told of its progress."""

    slot: int
    done: float | None
    total: float | None
    message: str | None
    has_progress: bool
    text: str


class Ask(Struct, array_like=True, tag=5):
    """For what did not travel with a call: its ``params``, or its ``parents``, of at most so many bytes; or whether there
    is ``room`` for jobs that it adds, with parents of these ids.
    """

    slot: int
    what: str
    limit: int
    ids: list[str] = []


class Grown(Struct, array_like=True, tag=6):
    """What a call has added to its graph; the next word is of its good end."""

    slot: int
    jobs: list[NewJob]


ToChild = Setup | Calls | Recall | Stop | Stopping | Answer | Close
ToParent = Ready | Started | Done | Returned | Said | Ask | Grown

encode = msgspec.msgpack.Encoder().encode


def frame(message: Any) -> bytes:
    """A message, ready to be written."""
    body = encode(message)
    return len(body).to_bytes(_LENGTH, "little") + body


class Unpacker:
    """Frames in pieces in, messages out."""

    def __init__(self, kind: Any) -> None:
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._rest = bytearray()
        self._need = _LENGTH
        """Bytes until the next message is whole, as far as is known."""

    def feed(self, data: bytes) -> list[Any]:
        """The messages that are whole by now.

        Raises:
            ValueError: there was something else than messages.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        messages: list[Any] = []
        decode, at, size = self._decode, 0, len(data)
        view = memoryview(data)
        self._need = _LENGTH
        while size - at >= _LENGTH:
            end = at + _LENGTH + int.from_bytes(view[at : at + _LENGTH], "little")
            if end > size:
                self._need = end - at
                if view[at + _LENGTH : at + _LENGTH + 1] and view[at + _LENGTH] >> 4 != _ARRAY:
                    raise ValueError("no message")
                break
            messages.append(decode(view[at + _LENGTH : end]))
            at = end
        self._rest += view[at:]
        return messages
