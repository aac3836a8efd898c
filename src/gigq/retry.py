"""Retry policies as values: how long to wait before another attempt, and after which errors there is none.

A policy is stored with its job as a small JSON text, see :func:`stored`. What an exception means for a job is judged
where the exception is, in :mod:`gigq.worker.verdicts`; whether there is another attempt is for :func:`gigq.status.settle`.
"""

from __future__ import annotations

import builtins
import json
import keyword
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from gigq import callables
from gigq.clock import LONGEST, from_seconds, is_seconds, microseconds
from gigq.errors import FunctionUnavailable, InvalidJob

Delay = float | timedelta
"""Seconds, or a timedelta."""
Uniform = Callable[[float, float], float]
"""A random number between two others."""
Spec = dict[str, Any]
"""A policy as it is stored; see :func:`stored`."""

_MOST_DELAYS = 1000


class Exponential:
    """A delay that grows by a factor with each attempt, up to a cap.

    With ``jitter`` it is anything between nothing and that, at random, so that jobs which failed together do not come
    again together.
    """

    __slots__ = ("base", "cap", "factor", "jitter", "respect_retry_after")

    def __init__(
        self,
        base: float = 1,
        factor: float = 2,
        cap: float = 3600,
        jitter: bool = True,
        respect_retry_after: bool = True,
    ) -> None:
        """Args:
            base: seconds after the first attempt.
            factor: what each further attempt multiplies that by, at least 1; 1 keeps it constant.
            cap: seconds that it does not exceed.
            jitter: whether it is drawn at random, between 0 and what it would be ("full jitter").
            respect_retry_after: whether an error that carries an HTTP ``Retry-After`` is waited for at least that
                long, though not over a day.

        Raises:
            InvalidJob: naming the argument that cannot be accepted.
        """
        for name, value in (("base", base), ("cap", cap)):
            if not is_seconds(value) or not value > 0:
                raise InvalidJob(f"Exponential: {name}: seconds above 0 are needed, not {value!r:.100}")
        if not is_seconds(factor) or not factor >= 1:
            raise InvalidJob(f"Exponential: factor: a number of at least 1 is needed, not {factor!r:.100}")
        for name, value in (("jitter", jitter), ("respect_retry_after", respect_retry_after)):
            if not isinstance(value, bool):
                raise InvalidJob(f"Exponential: {name}: True or False, not {value!r:.100}")
        self.base = base
        self.factor = factor
        self.cap = cap
        self.jitter = jitter
        self.respect_retry_after = respect_retry_after

    def delay(self, attempt: int, uniform: Uniform | None = None) -> float:
        """Seconds to wait after an attempt; 1 is the first. ``uniform`` draws the jitter."""
        try:
            most = min(float(self.cap), self.base * float(self.factor) ** (attempt - 1))
        except OverflowError:
            most = float(self.cap)
        return (uniform or _uniform)(0.0, most) if self.jitter else most

    def _fields(self) -> Spec:
        return {name: getattr(self, name) for name in ("base", "factor", "cap", "jitter")}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Exponential):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((self.base, self.factor, self.cap, self.jitter, self.respect_retry_after))

    def __repr__(self) -> str:
        return f"Exponential({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


DEFAULT = Exponential()
"""How long to wait where a function should say so, but cannot be asked, or gives no answer."""

Policy = Delay | Sequence[Delay] | Exponential | Callable[[int, Any], Delay | None] | str
"""What ``retry=`` takes: a delay, one for each attempt, a growing one, or a function ``(attempt, error)`` that says
how long, or None to give up; or the text of any of these, see :func:`parsed`."""
Errors = type[BaseException] | str | Sequence[type[BaseException] | str]
"""What ``retry_on=`` and ``fail_on=`` take: exception classes, or their names."""


def _uniform(low: float, high: float) -> float:
    """Of the system: a job that seeds ``random`` must not make all of them wait alike."""
    from random import SystemRandom

    return SystemRandom().uniform(low, high)


# -- what a caller declares, as it is stored ---------------------------------------------------------------------


def stored(retry: Policy | None, retry_on: Errors | None, fail_on: Errors | None) -> str | None:
    """The JSON text of what a job declares, None for nothing.

    One of ``{"delay"}``, ``{"delays"}``, ``{"base" "factor" "cap" "jitter"}``, ``{"call"}`` or nothing, in seconds;
    with ``retry_on`` and ``fail_on``, names of classes; ``respect_retry_after`` where it is False; and ``script``
    where one of the names is that of a script.

    Raises:
        InvalidJob: naming the field.
    """
    spec = {} if retry is None else _spec(parsed(retry) if isinstance(retry, str) else retry)
    for field, errors in (("retry_on", retry_on), ("fail_on", fail_on)):
        if errors is not None:
            listed = errors if isinstance(errors, list | tuple | set | frozenset) else [errors]
            if not listed and field == "retry_on":
                raise InvalidJob(
                    "retry_on: is empty, so that no error would be tried again; use max_attempts=1"
                )
            if listed:
                spec[field] = [_error_name(error, field, spec) for error in listed]
    return json.dumps(spec, separators=(",", ":")) if spec else None


def _spec(retry: Any) -> Spec:
    if isinstance(retry, Exponential):
        return retry._fields() | ({} if retry.respect_retry_after else {"respect_retry_after": False})
    if isinstance(retry, list | tuple):
        if not 0 < len(retry) <= _MOST_DELAYS:
            raise InvalidJob(f"retry: a list of 1 to {_MOST_DELAYS} delays is needed, not of {len(retry)}")
        return {"delays": [_seconds(delay) for delay in retry]}
    if isinstance(retry, str):
        return {"call": retry}
    function = callables.bare(retry)
    if callable(function):
        return _call(function)
    return {"delay": _seconds(retry)}


def _seconds(value: Any) -> float:
    found = microseconds(value)
    if found is None:
        raise InvalidJob(
            "retry: seconds from 0 up, a list of them, Exponential(...), or a function (attempt, error) of a module "
            f"is needed, not {value!r:.100}"
        )
    return value.total_seconds() if isinstance(value, timedelta) else value


def _call(function: Any) -> Spec:
    if isinstance(function, type):
        hint = "; exceptions belong to retry_on" if issubclass(function, BaseException) else ""
        raise InvalidJob(
            f"retry: a function (attempt, error) is needed, not the class {function.__name__}{hint}"
        )
    if callables.is_async(function):
        raise InvalidJob(f"retry: {function.__qualname__} is a coroutine function; a plain one is needed")
    try:
        reference = callables.refer(function)
    except InvalidJob as error:
        raise InvalidJob(f"retry: {error}") from None
    spec = {"call": f"{reference.module}.{reference.name}"}
    return spec if reference.script is None else spec | {"script": reference.script}


def _error_name(error: Any, field: str, spec: Spec) -> str:
    if isinstance(error, str):
        return _known_name(error, field)
    if not (isinstance(error, type) and issubclass(error, BaseException)):
        raise InvalidJob(f"{field}: exception classes, or their names, are needed, not {error!r:.100}")
    try:
        reference = callables.refer(error)
    except InvalidJob:
        raise InvalidJob(
            f"{field}: {error.__qualname__} cannot be found again by a worker: define it at the top of a module"
        ) from None
    if reference.script is not None:
        spec["script"] = reference.script
    return f"{reference.module}.{reference.name}"


def _known_name(name: str, field: str) -> str:
    """A name as ``module.Class``; one without a module is a builtin."""
    if "." not in name:
        found = getattr(builtins, name, None)
        if not (isinstance(found, type) and issubclass(found, BaseException)):
            raise InvalidJob(
                f"{field}: {name!r:.100} is no builtin exception; name its module: 'module.Class'"
            )
        return f"builtins.{name}"
    if not _is_dotted(name):
        raise InvalidJob(f"{field}: {name!r:.100} is not of the form 'module.Class'")
    return name


def _is_dotted(text: str) -> bool:
    parts = text.split(".")
    return len(parts) > 1 and all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)


# -- as text -----------------------------------------------------------------------------------------------------

_FORMS = "'30', '1,5,60', 'exponential', 'exponential:base=1,factor=2,cap=3600,jitter=no', or 'module.function' is needed"


def parsed(text: str) -> float | list[float] | Exponential | str:
    """The policy of a text: seconds, a list of them, ``exponential`` with its arguments, or the name of a function.

    Raises:
        InvalidJob: naming the field ``retry``.
    """
    text = text.strip()
    kind, _, arguments = text.partition(":")
    if kind == "exponential":
        return _exponential(text, arguments)
    try:
        numbers = [_number(part) for part in text.split(",")]
    except ValueError:
        if not _is_dotted(text):
            raise InvalidJob(f"retry: {_FORMS}, not {text!r:.100}") from None
        return text
    return numbers if "," in text else numbers[0]


def _exponential(text: str, arguments: str) -> Exponential:
    given: dict[str, Any] = {}
    for part in arguments.split(",") if arguments else ():
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or name not in Exponential.__slots__ or name in given:
            raise InvalidJob(f"retry: {_FORMS}, not {text!r:.100}")
        try:
            given[name] = (
                _FLAGS[value.lower()] if name in ("jitter", "respect_retry_after") else _number(value)
            )
        except (KeyError, ValueError):
            raise InvalidJob(f"retry: exponential: {name}={value!r:.100} cannot be read") from None
    return Exponential(**given)


_FLAGS = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) <= LONGEST else number


# -- what is stored, as it is used -------------------------------------------------------------------------------


def read(text: str) -> Spec:
    """A stored policy."""
    spec: Spec = json.loads(text)
    return spec


def delay(spec: Spec, attempt: int, uniform: Uniform | None = None) -> int | None:
    """Microseconds to wait after an attempt (1 is the first); None where the policy has no numbers to say so."""
    if "delay" in spec:
        return from_seconds(spec["delay"])
    if "delays" in spec:
        delays = spec["delays"]
        return from_seconds(delays[min(attempt, len(delays)) - 1])
    if "base" in spec:
        growing = Exponential(spec["base"], spec["factor"], spec["cap"], spec["jitter"])
        return from_seconds(growing.delay(attempt, uniform))
    return None


def unasked(text: str | None, attempt: int) -> int | None:
    """The same where no function of the caller can be asked, as after a timeout: it counts as :data:`DEFAULT`."""
    if text is None:
        return None
    spec = read(text)
    return default(attempt) if "call" in spec else delay(spec, attempt)


def default(attempt: int) -> int:
    """Microseconds to wait where a function gives no answer."""
    return from_seconds(DEFAULT.delay(attempt))


def find(name: str, script: str | None) -> Any:
    """The class or the function of a stored name.

    Raises:
        FunctionUnavailable: there is none here.
        BaseException: whatever its module raises while it is imported.
    """
    parts = name.split(".")
    missing: FunctionUnavailable | None = None
    for n in range(len(parts) - 1, 0, -1):
        try:
            return callables.load(".".join(parts[:n]), ".".join(parts[n:]), script)
        except FunctionUnavailable as error:
            missing = missing or error
    raise missing or FunctionUnavailable(f"{name} has no module", name)


def in_words(spec: Spec) -> str:
    """A stored policy as people are told of it."""
    words = []
    if "delay" in spec:
        words.append(f"after {spec['delay']:g} s")
    elif "delays" in spec:
        words.append(f"after {', '.join(f'{seconds:g}' for seconds in spec['delays'])} s")
    elif "base" in spec:
        drawn = ", with jitter" if spec["jitter"] else ""
        words.append(f"after {spec['base']:g} s, times {spec['factor']:g}, up to {spec['cap']:g} s{drawn}")
    elif "call" in spec:
        words.append(f"as {spec['call']} says")
    for field, told in (("retry_on", "on"), ("fail_on", "not on")):
        if field in spec:
            words.append(f"{told} {', '.join(name.removeprefix('builtins.') for name in spec[field])}")
    return "; ".join(words)
