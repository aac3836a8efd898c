"""Results and errors from hell: what a function may return or raise to the harm of whoever looks at it."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

CALLS = "GIGQ_HELL_CALLS"
"""Names the file in which every call leaves a line."""


def _called(which: str) -> None:
    fd = os.open(os.environ[CALLS], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, f"{which}\n".encode())
    os.close(fd)


# -- results that cannot be stored ------------------------------------------------------------------------------


class Unwilling:
    """Cannot be looked at in any way."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__

    def __iter__(self) -> Iterator[int]:
        raise SystemExit("no iteration")

    def __getattr__(self, name: str) -> NoReturn:
        raise KeyboardInterrupt(name)


class LiesAboutItsClass:
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return dict


class RaisesAboutItsClass:
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise SystemExit("no class")


class LyingMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> NoReturn:
        raise GeneratorExit

    def __iter__(self) -> NoReturn:
        raise KeyboardInterrupt

    def __len__(self) -> int:
        return 2**60

    def __repr__(self) -> str:
        raise KeyboardInterrupt


class ReprOfAnotherType:
    def __repr__(self) -> str:
        return 7  # type: ignore[return-value]


@dataclasses.dataclass
class HoldsALock:
    lock: Any = dataclasses.field(default_factory=threading.Lock)


def _deep(levels: int = 100_000) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def _deep_dict(levels: int = 100_000) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"k": value}
    return value


def _cycle() -> list[Any]:
    value: list[Any] = [1, {}]
    value[1]["self"] = value
    return value


UNSTORABLE: dict[str, Callable[[], Any]] = {
    "nan": lambda: {"rows": [1.0, float("nan")]},
    "infinity": lambda: float("-inf"),
    "fifty megabytes": lambda: "x" * 50_000_000,
    "fifty megabytes in pieces": lambda: ["y" * 1000] * 50_000,
    "depth": _deep,
    "depth of dicts": _deep_dict,
    "cycle": _cycle,
    "lone surrogate": lambda: "a\ud800b",
    "lone surrogate in a key": lambda: {"\udfff": 1},
    "nul": lambda: "a\x00b",
    "object": object,
    "set of objects": lambda: {object(), object()},
    "function": lambda: _deep,
    "module": lambda: sys,
    "generator": lambda: (n for n in range(3)),
    "lock": HoldsALock,
    "exception": lambda: ValueError("returned, not raised"),
    "unwilling": Unwilling,
    "lies about its class": LiesAboutItsClass,
    "raises about its class": RaisesAboutItsClass,
    "lying mapping": LyingMapping,
    "repr of another type": ReprOfAnotherType,
    "key that is a tuple": lambda: {(1, 2): 3},
    "unwilling inside": lambda: {"deep": [{"deeper": Unwilling()}]},
}


def give(which: str) -> Any:
    _called(which)
    return UNSTORABLE[which]()


# -- errors that cannot be shown --------------------------------------------------------------------------------


class NoStr(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no str")

    def __repr__(self) -> str:
        raise SystemExit("no repr")


class StrOfAnotherType(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]


class NoPickle(Exception):
    def __init__(self, a: int, *, b: int) -> None:
        super().__init__(f"{a} {b}")
        self.hook = lambda: None

    def __reduce__(self) -> NoReturn:
        raise TypeError("no pickle")


class ClassLies(Exception):
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return KeyboardInterrupt


class ClassRaises(Exception):
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise SystemExit("no class")


class NoTraceback(Exception):
    def with_traceback(self, _traceback: object) -> NoReturn:
        raise RuntimeError("no traceback")

    @property
    def __traceback__(self) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("no traceback")


class NoCause(Exception):
    @property
    def __cause__(self) -> NoReturn:  # type: ignore[override]
        raise KeyboardInterrupt("no cause")


class NamelessMeta(type):
    @property
    def __name__(cls) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("no name")


class Nameless(Exception, metaclass=NamelessMeta):
    pass


class OfItsOwnKind(BaseException):
    pass


def _recurse(depth: int = 0) -> int:
    return _recurse(depth + 1) + 1


def _chain(length: int = 2_000) -> NoReturn:
    error = ValueError("the first")
    for number in range(length):
        new = ValueError(f"number {number}")
        new.__context__ = error
        error = new
    raise error


def _self_caused() -> NoReturn:
    error = ValueError("its own cause")
    error.__cause__ = error
    raise error


def _nested_groups(levels: int = 2_000) -> NoReturn:
    group: Exception = ValueError("the innermost")
    for _ in range(levels):
        group = ExceptionGroup("around it", [group])
    raise group


def _raise(error: BaseException) -> NoReturn:
    raise error


ERRORS: dict[str, Callable[[], Any]] = {
    "no str": lambda: _raise(NoStr()),
    "str of another type": lambda: _raise(StrOfAnotherType()),
    "fifty megabytes": lambda: _raise(ValueError("x" * 50_000_000)),
    "lone surrogate": lambda: _raise(ValueError("a\ud800b\x00c")),
    "unpicklable": lambda: _raise(NoPickle(1, b=2)),
    "group": lambda: _raise(ExceptionGroup("two", [ValueError("one"), TypeError("two")])),
    "base group": lambda: _raise(BaseExceptionGroup("two", [SystemExit(3), KeyboardInterrupt()])),
    "nested groups": _nested_groups,
    "sys.exit": lambda: sys.exit(3),
    "sys.exit of an object": lambda: _raise(SystemExit(NoStr())),
    "keyboard interrupt": lambda: _raise(KeyboardInterrupt("from the job")),
    "generator exit": lambda: _raise(GeneratorExit()),
    "base exception": lambda: _raise(OfItsOwnKind("mine")),
    "stop iteration": lambda: _raise(StopIteration(1)),
    "memory": lambda: _raise(MemoryError()),
    "class lies": lambda: _raise(ClassLies("not an interrupt")),
    "class raises": lambda: _raise(ClassRaises()),
    "no traceback": lambda: _raise(NoTraceback()),
    "no cause": lambda: _raise(NoCause()),
    "nameless": lambda: _raise(Nameless("without a name")),
    "recursion": _recurse,
    "long chain": _chain,
    "its own cause": _self_caused,
}


def throw(which: str) -> NoReturn:
    _called(which)
    ERRORS[which]()
    raise AssertionError(f"{which} did not raise")
