"""Values: what is stored, how it comes back, and what is refused, by name of the place."""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import pathlib
import types
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gigq import InvalidValue, codec

LIMIT = 1_000_000

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
KEYS = TEXT | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none()
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSONABLE = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner),
    max_leaves=20,
)


def round_trip(value: Any) -> Any:
    return codec.decode(codec.encode(value, "value", LIMIT))


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Name(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not what is stored"


class Count(int):
    pass


class Share(float):
    pass


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None


@dataclasses.dataclass
class Line:
    start: Point
    points: list[Point]


class Pair(NamedTuple):
    a: int
    b: int


class Opaque:
    pass


@given(JSONABLE)
def test_what_json_stores_comes_back_as_json_gives_it_back(value: Any) -> None:
    assert round_trip(value) == json.loads(json.dumps(value))


@given(st.dictionaries(KEYS, st.integers()))
def test_keys_are_spelled_as_json_spells_them(value: dict[Any, int]) -> None:
    assert list(round_trip(value)) == list(json.loads(json.dumps(value)))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_comes_back_to_the_last_bit(number: float) -> None:
    back = round_trip([number, None])[0]
    assert (back, math.copysign(1, back)) == (number, math.copysign(1, number))


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**300, -(10**40)])
def test_integers_beyond_64_bits_are_stored(number: int) -> None:
    back = round_trip({"n": number})["n"]
    assert (back, type(back)) == (number, int)


@pytest.mark.parametrize(
    ("key", "spelled"),
    [
        (Level.LOW, "1"),
        (Word.YES, "yes"),
        (Colour.RED, "red"),
        (Name("a"), "a"),
        (True, "true"),
        (1e16, "1e+16"),
        (1e-05, "1e-05"),
        (-2.5e-05, "-2.5e-05"),
        (-1e300, "-1e+300"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (dt.date(2026, 1, 31), "2026-01-31"),
        (dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC), "2026-01-31T12:00:00Z"),
        (dt.time(12, 30), "12:30:00"),
        (dt.timedelta(days=1, seconds=2), "P1DT2S"),
        (decimal.Decimal("1.10"), "1.10"),
        (b"\x00", "AA=="),
        (pathlib.PurePosixPath("a/b"), "a/b"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("item", [0, None])
def test_keys_of_named_types_are_spelled_like_their_values(key: Any, spelled: str, item: Any) -> None:
    assert round_trip({key: item}) == {spelled: item}


MOMENT = dt.datetime(2026, 1, 31, 12, 30, 15, 250, tzinfo=dt.UTC)
KNOWN_TYPES = [
    (dt.datetime(2026, 1, 31, 12, 30), "2026-01-31T12:30:00"),
    (dt.date(2026, 1, 31), "2026-01-31"),
    (dt.time(12, 30), "12:30:00"),
    (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    (decimal.Decimal("1.10"), "1.10"),
    (Colour.RED, "red"),
    (Level.LOW, 1),
    (Word.YES, "yes"),
    (b"\x00\xff", base64.b64encode(b"\x00\xff").decode()),
    (bytearray(b"ab"), base64.b64encode(b"ab").decode()),
    (memoryview(b"ab"), base64.b64encode(b"ab").decode()),
    ({3}, [3]),
    (frozenset({3}), [3]),
    ((1, (2, 3)), [1, [2, 3]]),
    (Name("text"), "text"),
    (Count(5), 5),
    (Share(0.5), 0.5),
    (pathlib.PurePosixPath("a/b"), "a/b"),
    (Line(Point(1, 2), [Point(3)]), {"start": {"x": 1, "y": 2}, "points": [{"x": 3, "y": None}]}),
    (collections.OrderedDict(a=1), {"a": 1}),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    (Pair(1, 2), [1, 2]),
]


@pytest.mark.parametrize(("value", "stored"), KNOWN_TYPES, ids=lambda value: type(value).__name__)
def test_a_named_type_is_stored_in_the_words_of_json(value: Any, stored: Any) -> None:
    assert round_trip(value) == stored
    assert round_trip({"deep": [value]}) == {"deep": [stored]}


@pytest.mark.parametrize(("value", "stored"), KNOWN_TYPES, ids=lambda value: type(value).__name__)
def test_a_none_beside_it_changes_nothing(value: Any, stored: Any) -> None:
    """With a null in the text the slow walk decides; both must say the same."""
    assert round_trip([value, None]) == [stored, None]


def test_a_moment_with_an_offset_keeps_its_meaning() -> None:
    for value in (round_trip(MOMENT), round_trip([MOMENT, None])[0]):
        assert dt.datetime.fromisoformat(value) == MOMENT


LONE = "\ud800"
CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
REFUSED = [
    ({"rows": [1, 2, 3, Point(1, float("nan"))]}, "params['rows'][3].y: nan"),
    ({"rows": {"deep": (1, math.inf)}}, "params['rows']['deep'][1]: inf"),
    ({"n": -math.inf}, "params['n']: -inf"),
    ({"t": LONE}, "params['t']: "),
    ({"t": ["ok", "a\x00b"]}, "params['t'][1]: "),
    ({LONE: 1}, "params: "),
    ({"a\x00": 1}, "params: "),
    ({"d": {math.nan: 1}}, "params['d']: "),
    ({"d": {(1, 2): 3}}, "params['d']: "),
    ({"o": [Opaque()]}, "params['o'][0]: "),
    ({"f": print}, "params['f']: "),
    ({"e": {1: Opaque()}}, "params['e'][1]: "),
    ({"c": 1j}, "params['c']: "),
    ({"i": iter([1])}, "params['i']: "),
    ({"k": Opaque}, "params['k']: "),
    ({"none": None, "o": Opaque()}, "params['o']: "),
    ({"s": {LONE}}, "params['s'][0]: "),
    ({"n": Share("nan")}, "params['n']: nan"),
    ({"t": Name("a\x00b")}, "params['t']: "),
    ({"p": pathlib.PurePosixPath("a\x00b")}, "params['p']: "),
    ({"d": decimal.Decimal("NaN"), "o": Opaque()}, "params['"),
]


@pytest.mark.parametrize(("value", "place"), REFUSED, ids=lambda value: ascii(value).split(" at 0x")[0][:40])
def test_what_cannot_be_stored_is_refused_with_the_path_to_it(value: Any, place: str) -> None:
    with pytest.raises(InvalidValue) as refusal:
        codec.encode(value, "params", LIMIT)
    assert str(refusal.value).startswith(place)


def test_a_refusal_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="params"):
        codec.encode({"x": math.nan}, "params", LIMIT)


def test_a_value_that_contains_itself_is_refused() -> None:
    with pytest.raises(InvalidValue, match="contains itself"):
        codec.encode({"circle": CIRCLE}, "params", LIMIT)


def test_the_words_of_null_and_nul_as_text_are_only_text() -> None:
    for value in ({"null": "null"}, ["\\u0000", None], {"a": r"\u0000"}):
        assert round_trip(value) == value


class _Iterable:
    def __iter__(self) -> Iterator[int]:
        raise RuntimeError("hostile")

    def __repr__(self) -> str:
        raise RuntimeError("hostile")


class _Mapping(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("hostile")


@pytest.mark.parametrize("value", [_Iterable(), [None, _Mapping(a=1)]], ids=["iterable", "mapping"])
def test_a_hostile_value_is_refused_like_any_other(value: Any) -> None:
    with pytest.raises(InvalidValue, match="value"):
        codec.encode(value, "value", LIMIT)


def test_the_limit_counts_bytes_and_says_the_way_out() -> None:
    fits = "é" * 49  # two bytes each, and two quotes
    assert codec.encode(fits, "result", 100) == f'"{fits}"'
    with pytest.raises(InvalidValue, match=r"result: 102 bytes.*limit of 100.*file") as refusal:
        codec.encode(fits + "é", "result", 100)
    assert "pass its name" in str(refusal.value)


def test_the_limits_are_those_of_the_contract() -> None:
    assert (codec.MAX_PARAMS, codec.MAX_RESULT) == (1_000_000, 16_000_000)


@pytest.mark.parametrize("text", [None, "null"])
def test_nothing_stored_is_none(text: str | None) -> None:
    assert codec.decode(text) is None


def test_the_token_nan_of_old_files_is_read() -> None:
    assert math.isnan(codec.decode('{"x": NaN}')["x"])
    assert codec.decode("[Infinity, -Infinity]") == [math.inf, -math.inf]


class Named(msgspec.Struct, rename="camel"):
    """What msgspec knows and the walk must know too."""

    first_word: str
    inner: set[str]
    at: float = 1.5


@pytest.mark.parametrize("word", ["plain", "null", "\\u0000"])
def test_a_struct_is_stored_alike_whether_it_is_walked_or_not(word: str) -> None:
    stored = codec.encode({"value": [Named(word, {word})]}, "params", LIMIT)
    assert json.loads(stored) == {"value": [{"firstWord": word, "inner": [word], "at": 1.5}]}


def test_what_cannot_be_stored_in_a_struct_is_named() -> None:
    with pytest.raises(InvalidValue, match=r"params\['value'\]\['at'\]: .*nan"):
        codec.encode({"value": Named("x", set(), math.nan)}, "params", LIMIT)
