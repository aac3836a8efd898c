"""Functions that say how their run ends, and errors of somebody else's HTTP library."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import gigq


class NotReady(gigq.Snooze):
    """A kind of Snooze that knows for how long."""

    def __init__(self) -> None:
        super().__init__(90, "not ready")


class Hostile(gigq.Retry):
    """A kind of Retry that cannot be looked at."""

    @property
    def delay(self) -> int:
        raise SystemExit("no")

    @delay.setter
    def delay(self, value: Any) -> None: ...


class Response:
    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers


class HTTPError(Exception):
    """As requests and httpx have it: the response hangs at the error."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__("503 Service Unavailable")
        self.response = Response(headers)


_KINDS: dict[str, Any] = {
    "retry": lambda: gigq.Retry(after=60, reason="busy"),
    "retry at once": gigq.Retry,
    "snooze": lambda: gigq.Snooze(120, "too early"),
    "kind of snooze": NotReady,
    "fail": lambda: gigq.Fail("no such customer"),
    "cancel": lambda: gigq.Cancel("not wanted any more"),
    "hostile": lambda: Hostile(60),
}


def say(kind: str) -> NoReturn:
    raise _KINDS[kind]()


async def say_async(kind: str) -> NoReturn:
    raise _KINDS[kind]()


def say_from(kind: str) -> None:
    """With the error that was the reason."""
    try:
        Path("/no/such/file").read_text()
    except OSError as error:
        raise _KINDS[kind]() from error


def answer(headers: dict[str, str]) -> NoReturn:
    raise HTTPError(headers)


class Virtual(type):
    """Whatever says 'virtual' is an instance, as with an abstract base class."""

    def __instancecheck__(cls, instance: object) -> bool:
        return "virtual" in str(instance)


class Anything(Exception, metaclass=Virtual):
    pass


class HostileCheck(type):
    def __instancecheck__(cls, instance: object) -> bool:
        raise SystemExit("no")


class Unaskable(Exception, metaclass=HostileCheck):
    pass


class KindOfHTTPError(HTTPError):
    pass


def answer_oddly() -> NoReturn:
    raise KindOfHTTPError({})


# -- policies ----------------------------------------------------------------------------------------------------


def by_attempt(attempt: int, error: BaseException) -> float | None:
    """Twice the attempts seconds for a ValueError, and no more of anything else."""
    job = gigq.current_job()
    job.log(f"asked {attempt} {type(error).__name__} {job.attempt}")
    return 20 * attempt if isinstance(error, ValueError) else None


def breaks(attempt: int, error: BaseException) -> float:
    raise LookupError("the policy broke")


def exits(attempt: int, error: BaseException) -> float:
    raise SystemExit(3)


def interrupts(attempt: int, error: BaseException) -> float:
    raise KeyboardInterrupt


def says_nonsense(attempt: int, error: BaseException) -> Any:
    return "soon"


def pass_on(headers: dict[str, str]) -> NoReturn:
    try:
        answer(headers)
    except HTTPError as error:
        raise gigq.Retry.from_response(error) from error
