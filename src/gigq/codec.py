"""Values in, JSON text out, and back: one strict codec for every engine.

What ``json.dumps`` stores is stored (its spelling of non-text keys included), and dataclasses, datetimes, UUID,
Decimal, enums, bytes (base64), sets, pydantic models and subclasses of the plain types besides; ``binding`` reads
them back. NaN, infinity, lone surrogates and NUL are refused: no two databases agree on them.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any

from gigq.errors import InvalidJob, InvalidValue

MAX_PARAMS = 1_000_000
"""Bytes of JSON that a job's params may take, if nothing else is said."""
MAX_RESULT = 16_000_000
"""Bytes of JSON that a result may take, if nothing else is said."""
HIGHEST_LIMIT = 500_000_000
"""Results travel as JSON text within JSON text, which may double them, and SQLite takes one billion bytes in one text."""
_DEEPEST = 500
_CIRCLE_HINT = "deeper than 500 levels, or it contains itself"
_ODD_KEY = re.compile(
    rb'":(?<=[0-9nf]":)(?:(?<="[01]":)|(?<=nan":)|(?<=inf":)|'
    rb'(?<=e[0-9]":)|(?<=e[0-9]{2}":)|(?<=e[0-9]{3}":)|(?<=e-[0-9]":)|(?<=e-[0-9]{2}":)|(?<=e-[0-9]{3}":))'
)
"""A key that may be a bool or a float, which json spells in another way than msgspec, or refuses.

It begins with a literal and looks back, which makes the search cheap [m: 0.2 us for small params].
"""


@functools.cache
def _encode() -> Callable[[Any], bytes]:
    import msgspec  # 40 ms to import, so only when a value is stored

    return msgspec.json.Encoder(enc_hook=_plain_other).encode


@functools.cache
def _encode_in_order() -> Callable[[Any], bytes]:
    import msgspec

    return msgspec.json.Encoder(enc_hook=_plain_other, order="deterministic").encode


@functools.cache
def _decode() -> Callable[[str], Any]:
    import msgspec

    return msgspec.json.Decoder().decode


def encode(value: Any, what: str, limit: int) -> str:
    """JSON text of a value.

    Args:
        value: anything the module's docstring names.
        what: how messages call it: ``params`` or ``result``, whose limit is the option ``max_params`` or ``max_result``.
        limit: bytes.

    Raises:
        InvalidValue: naming the path to what cannot be stored (``params['rows'][3]: ...``), or the limit.
    """
    try:
        raw = _encode()(value)
        # msgspec writes NaN as null without a word, NUL as an escape, and keys that are not text in its own way:
        # what looks like that is walked.
        if (
            b"null" in raw
            or b"\\u0000" in raw
            or (b'":' in raw and (b'"0.0000' in raw or b'"-0.0000' in raw or _ODD_KEY.search(raw)))
        ):
            raw = _encode()(_plain(value, what, 0))
    except InvalidValue:
        raise
    except Exception:  # noqa: BLE001 - whatever a hostile value raises, the walk names the place
        raw = _by_walk(value, what)
    if len(raw) > limit:
        raise InvalidValue(
            f"{what}: {len(raw):,} bytes of JSON, over the limit of {limit:,}. "
            f"Store the data in a file or a table and pass its name, or raise {_OPTIONS.get(what, 'the limit')}."
        )
    return raw.decode()


def canonical(value: Any) -> bytes:
    """JSON of a value that :func:`encode` accepts; the same for the same value, however its dicts and sets are ordered."""
    try:
        return _encode_in_order()(value)
    except Exception:  # noqa: BLE001 - keys that only json spells, for one
        return _encode_in_order()(_plain(value, "params", 0))


_OPTIONS = {"params": "max_params= of the JobQueue", "result": "max_result= of the JobQueue or Worker"}


def known_limit(limit: int, option: str) -> int:
    """An option that limits the bytes of values.

    Raises:
        InvalidJob: it is not a whole number of bytes from 1 to 500 MB.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= HIGHEST_LIMIT:
        raise InvalidJob(
            f"{option}: a whole number of bytes from 1 to {HIGHEST_LIMIT:,} is needed, not {limit!r:.100}"
        )
    return limit


def _by_walk(value: Any, what: str) -> bytes:
    try:
        return json.dumps(_plain(value, what, 0), ensure_ascii=False, separators=(",", ":")).encode()
    except InvalidValue:
        raise
    except RecursionError:
        raise InvalidValue(f"{what}: {_CIRCLE_HINT}") from None
    except Exception as error:
        raise InvalidValue(f"{what}: cannot be stored as JSON ({type(error).__name__})") from error


def decode(text: str | None) -> Any:
    """The value of stored JSON text; None for nothing stored. Reads the token NaN of old files."""
    if text is None or text == "null":
        return None
    try:
        return _decode()(text)
    except Exception:  # noqa: BLE001 - msgspec's own errors, which are ValueErrors only in its newer versions
        return json.loads(text)


def _plain_other(value: Any) -> Any:
    """What msgspec does not know by itself."""
    for kind, plain in _SUBCLASSES:
        if isinstance(value, kind):
            return plain(value)
    if hasattr(type(value), "model_dump"):
        return _dumped(value)
    raise TypeError(type(value).__name__)


def _dumped(model: Any) -> Any:
    """A pydantic model as its class reads it back."""
    return model.model_dump(mode="json", by_alias=True, round_trip=True)


def _built_in(struct: Any) -> Any:
    """A msgspec Struct, with what it holds, as its class reads it back."""
    import msgspec

    return msgspec.to_builtins(struct, enc_hook=_plain_other)


def _text(value: str) -> str:
    return str.__str__(value)


_SUBCLASSES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, _text),
    (int, int.__int__),
    (float, float.__float__),
    (os.PathLike, os.fspath),
    (Mapping, dict),
)


def _plain(value: Any, path: str, depth: int) -> Any:
    """The same value in the types of JSON, or InvalidValue with the path to what is not."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and not isinstance(value, Enum):
        return _plain_text(value, path)
    if isinstance(value, int) and not isinstance(value, Enum):
        return int(value)
    if isinstance(value, float) and not isinstance(value, Enum):
        return _plain_float(value, path)
    if depth > _DEEPEST:
        raise InvalidValue(f"{path[:200]}: {_CIRCLE_HINT}")
    if isinstance(value, Mapping):
        return {
            _plain_key(key, path): _plain(item, f"{path}[{_shown(key)}]", depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        items = [_plain(item, f"{path}[{place}]", depth + 1) for place, item in enumerate(value)]
        return items if isinstance(value, list | tuple) else sorted(items, key=repr)
    return _plain_named(value, path, depth)


def _plain_named(value: Any, path: str, depth: int) -> Any:
    import base64
    import dataclasses

    if isinstance(value, Enum):
        return _plain(value.value, path, depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name), f"{path}.{field.name}", depth + 1)
            for field in dataclasses.fields(value)
        }
    if isinstance(value, _named_types()):
        return _decode()(_encode()(value).decode())
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, os.PathLike):
        return _plain_text(os.fspath(value), path)
    if hasattr(type(value), "model_dump"):
        return _plain(_dumped(value), path, depth + 1)
    if hasattr(type(value), "__struct_fields__"):
        return _plain(_built_in(value), path, depth + 1)
    raise InvalidValue(
        f"{path}: {type(value).__module__}.{type(value).__qualname__} cannot be stored as JSON. "
        "Pass plain values (text, numbers, lists, dicts, dataclasses, datetimes) and build the object in the function."
    )


@functools.cache
def _named_types() -> tuple[type, ...]:
    from decimal import Decimal
    from uuid import UUID

    return datetime, date, time, timedelta, UUID, Decimal


def _plain_text(value: str, path: str) -> str:
    if "\x00" in value:
        raise InvalidValue(f"{path}: text with a NUL character cannot be stored. Remove it, or pass bytes.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidValue(
            f"{path}: text with a lone surrogate cannot be stored. Encode it first (errors='surrogateescape')."
        ) from None
    return _text(value)


def _plain_float(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise InvalidValue(f"{path}: {float.__repr__(value)} is not JSON. Pass None, or text.")
    return float(value)


def _plain_key(key: Any, path: str) -> str:
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, Enum):
        return _plain_key(key.value, path)
    if isinstance(key, str):
        return _plain_text(key, f"{path}: the key {_shown(key)}")
    if isinstance(key, int):
        return int.__repr__(key)
    if isinstance(key, float):
        return float.__repr__(_plain_float(key, f"{path}: a key"))
    if isinstance(key, (*_named_types(), bytes, os.PathLike)):
        return _plain_text(_plain_named(key, path, 0), path)
    raise InvalidValue(
        f"{path}: a key of type {type(key).__qualname__} cannot be stored. Keys are text or numbers."
    )


def _shown(key: Any) -> str:
    return ascii(key)[:60] if isinstance(key, str | int | float | bool | None) else type(key).__qualname__
