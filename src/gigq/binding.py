"""Params on their way to a function: its annotations say how to read back what JSON cannot carry.

A parameter annotated with a dataclass, Struct, attrs class, NamedTuple, TypedDict, pydantic model, datetime, date,
time, timedelta, UUID, Decimal, path, enum, bytes, set or tuple, a subclass of str, int or float, or lists, dicts and
unions of such, is given one. Everything else is passed as it is, and costs nothing: what is plain in JSON is not
checked, and an annotation that cannot be resolved, or that would leave two ways to read one text (``str | date``),
changes nothing.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import os
import sys
import types
import typing
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import GenericAlias
from typing import Any, Union

from gigq import codec
from gigq.errors import InvalidValue

_NOT_PARAMS = "parent_results"
_LISTS = (
    list,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Collection,
    collections.abc.Iterable,
)
_SETS = {set: set, collections.abc.MutableSet: set, collections.abc.Set: set, frozenset: frozenset}
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_NUMBERS = (int, float, bool)
_SIMPLE = (str, int, float)


def bind(function: Callable[..., Any], params: dict[str, Any]) -> dict[str, Any]:
    """Params, as stored, in the types that a function asks for; the same dict where it asks for nothing special.

    Raises:
        InvalidValue: a value cannot be read as its parameter is annotated; the message names both.
    """
    try:
        read = _reader(function)
    except TypeError:  # a callable that cannot be hashed
        return params
    return params if read is None else read(params)


@functools.lru_cache(maxsize=4096)
def _reader(function: Callable[..., Any]) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    """What reads a function's params; None where there is nothing to read."""
    named, others = _targets(function)
    wanted = {name: target for name, target in named.items() if target is not Any}
    if not wanted and others is Any:
        return None
    import msgspec

    convert = functools.partial(msgspec.convert, dec_hook=_made, str_keys=True)
    called = getattr(function, "__qualname__", "the function")

    def read(params: dict[str, Any]) -> dict[str, Any]:
        given = dict(params)
        for name, value in params.items():
            target = wanted.get(name, Any) if name in named else others
            if target is not Any and name != _NOT_PARAMS:
                try:
                    given[name] = convert(value, target)
                except Exception as error:  # noqa: BLE001 - also what the type's own code raises
                    why = str(error).replace("`$", f"`{name}") or type(error).__name__
                    raise InvalidValue(
                        f"parameter {name!r} of {called} cannot be read as its annotation says: {why}"
                    ) from None
        return given

    return read


def _targets(function: Callable[..., Any]) -> tuple[dict[str, Any], Any]:
    """What to read the named parameters as, and any others (``**kwargs``); Any is as it is."""
    import inspect

    named: dict[str, Any] = {}
    others: Any = Any
    try:
        parameters = inspect.signature(function).parameters.values()
        scope = _scope(function)
    except Exception:  # noqa: BLE001 - a builtin, or annotations that do not even evaluate
        return named, others
    for parameter in parameters:
        hint = Any if parameter.annotation is parameter.empty else _resolved(parameter.annotation, scope)
        if parameter.kind is parameter.VAR_KEYWORD:
            if typing.get_origin(hint) is typing.Unpack:
                named |= {name: _usable(field) for name, field in _fields(typing.get_args(hint)[0]).items()}
            else:
                others = _usable(hint)
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            named[parameter.name] = _usable(hint, or_none=parameter.default is None)
    return named, others


def _scope(function: Callable[..., Any]) -> dict[str, Any]:
    """The names that the annotations of what is called in the end may use."""
    import inspect

    called = inspect.unwrap(function, stop=lambda f: hasattr(f, "__signature__"))
    scope = getattr(called, "__globals__", None)
    if scope is None:  # a class, or an object that can be called
        scope = getattr(sys.modules.get(called.__module__), "__dict__", {})
    return typing.cast("dict[str, Any]", scope)


def _resolved(annotation: Any, scope: dict[str, Any]) -> Any:
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, scope)["it"]
    except Exception:  # noqa: BLE001 - imported for type checkers only, or no type at all
        return Any


def _fields(kind: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except Exception:  # noqa: BLE001 - as above
        return {}


def _usable(hint: Any, *, or_none: bool = False) -> Any:
    """What to have msgspec read for an annotation; Any where it is plain JSON, or nobody can tell."""
    import msgspec

    try:
        target = _target(hint)
        if target is Any:
            return Any
        if or_none:  # `when: date = None`
            target = Union[target, None]  # noqa: UP007 - made at run time
        if not all(_maker(kind) for kind in _customs(msgspec.inspect.type_info(target), set())):
            return Any
        msgspec.json.Decoder(target, dec_hook=_made)  # refuses unions that it could not tell apart
    except Exception:  # noqa: BLE001 - whatever is strange about it: the value stays as it is
        return Any
    return target


def _target(hint: Any) -> Any:
    """An annotation with Any for everything in it that is plain in JSON; Any for one that is nothing else."""
    if isinstance(hint, typing.NewType):
        return _target(hint.__supertype__)
    if type(hint).__name__ == "TypeAliasType":  # Python 3.12
        return _target(hint.__value__)
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (Union, types.UnionType):
        return _union(inner)
    if kind in _LISTS:
        item = _target(inner[0]) if inner else Any
        return Any if item is Any else GenericAlias(list, (item,))
    if kind in _SETS:
        return GenericAlias(_SETS[kind], (_target(inner[0]),)) if inner else _SETS[kind]
    if kind is tuple:
        items = tuple(item if item is ... else _target(item) for item in inner)
        return GenericAlias(tuple, items) if items else tuple
    if kind in _DICTS:
        key, value = (_key(inner[0]), _target(inner[1])) if inner else (Any, Any)
        return Any if key is Any and value is Any else GenericAlias(dict, (key, value))
    return _class(kind, hint) if isinstance(kind, type) else Any


def _key(hint: Any) -> Any:
    """Keys are text in JSON, so numbers are read too; msgspec makes no keys of other people's types."""
    if hint in (int, float):
        return hint
    target = _target(hint)
    return target if isinstance(target, type) and not _maker(target) else Any


def _union(members: tuple[Any, ...]) -> Any:
    """A union in which what is plain stays unchecked; Any if all of it is plain, or some of it unknown."""
    targets = [_target(member) for member in members]
    if all(target is Any for target in targets):
        return Any
    parts: list[Any] = []
    for member, target in zip(members, targets, strict=True):
        parts += _plain_parts(member) if target is Any else [target]
    return Any if Any in parts else Union[tuple(parts)]  # noqa: UP007 - made at run time


def _plain_parts(hint: Any) -> list[Any]:
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind is typing.Literal:
        return [part for value in inner for part in _plain_parts(type(value))]
    if kind in _NUMBERS:
        return [*_NUMBERS]
    if kind in (str, types.NoneType):
        return [kind]
    if kind in _LISTS:
        return [list]
    return [dict] if kind in _DICTS or typing.is_typeddict(kind) else [Any]


def _class(kind: Any, hint: Any) -> Any:
    if kind in _scalars():
        return kind
    if issubclass(kind, Enum):
        return _enum(kind)
    if typing.is_typeddict(kind):
        fields = typing.get_type_hints(kind).values()
        return hint if any(_target(field) is not Any for field in fields) else Any
    if (
        dataclasses.is_dataclass(kind)
        or hasattr(kind, "__struct_fields__")
        or hasattr(kind, "__attrs_attrs__")
    ):
        return hint
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return hint
    return kind if _maker(kind) else Any


@functools.cache
def _scalars() -> frozenset[type]:
    from datetime import date, datetime, time, timedelta
    from decimal import Decimal
    from uuid import UUID

    return frozenset({datetime, date, time, timedelta, Decimal, UUID, bytes, bytearray, memoryview})


class _ByValue(type):
    """Classes that stand in for an enum whose values are not all text or all whole numbers."""

    read: Callable[[Any], Any]

    def __instancecheck__(cls, instance: object) -> bool:
        return True


def _enum(kind: type[Enum]) -> Any:
    if {type(member.value) for member in kind} in ({str}, {int}):
        return kind
    members = {_stored(member.value): member for member in kind}

    def read(value: Any) -> Any:
        try:
            return members[_stored(value)]
        except LookupError:
            raise ValueError(f"{value!r:.100} is no value of {kind.__name__}") from None

    return _ByValue(kind.__name__, (), {"read": staticmethod(read)})


def _stored(value: Any) -> str:
    return codec.encode(value, "value", codec.MAX_PARAMS)


def _made(kind: Any, value: Any) -> Any:
    """A value of a type that msgspec does not know."""
    make = _maker(typing.get_origin(kind) or kind)
    assert make is not None  # noqa: S101 - see _usable
    return make(value)


@functools.lru_cache(maxsize=4096)
def _maker(kind: Any) -> Callable[[Any], Any] | None:
    """How to make a value of a type that msgspec does not know from plain JSON; None if nobody can tell."""
    import inspect

    if isinstance(kind, _ByValue):
        return kind.read
    if kind is os.PathLike:
        return Path
    if not isinstance(kind, type) or inspect.isabstract(kind):
        return None
    validate = getattr(kind, "model_validate", None)  # pydantic
    if callable(validate):
        return typing.cast("Callable[[Any], Any]", validate)
    if issubclass(kind, os.PathLike):
        return kind
    base: Any = next((base for base in _SIMPLE if issubclass(kind, base)), None)
    own = kind.__mro__[: kind.__mro__.index(base)] if base else ()
    if not own or any(name in vars(each) for each in own for name in ("__new__", "__init__")):
        return None  # who knows what it would make of the value

    def make(value: Any) -> Any:
        if not isinstance(value, base):
            raise TypeError(f"Expected `{base.__name__}`, got `{type(value).__name__}`")
        return construct(value)

    construct: Callable[[Any], Any] = kind
    return make


def _customs(node: Any, seen: set[int]) -> Iterator[Any]:
    """The types within a type that msgspec does not know."""
    import msgspec

    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, msgspec.inspect.CustomType):
        yield node.cls
    elif isinstance(node, tuple):
        for item in node:
            yield from _customs(item, seen)
    elif isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field):
        for field in node.__struct_fields__:
            yield from _customs(getattr(node, field), seen)
