"""Params in the types that a function's annotations name; the rest as JSON has it."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import datetime as dt
import decimal
import enum
import os
import pathlib
import uuid
from typing import Any, NamedTuple, NewType, Optional, TypeVar, Union

import msgspec
import pytest
import typed
from hypothesis import given, settings
from hypothesis import strategies as st
from typed import Line, Order, Point, Strange

from gigq import InvalidValue, JobQueue, Worker, binding, codec
from gigq.job import Job


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Flags(enum.Flag):
    A = 1
    B = 2


class Odd(enum.Enum):
    """Values that are neither all text nor all whole numbers."""

    HALF = 0.5
    PAIR = (1, 2)
    NAME = "name"


class Name(str):
    __slots__ = ()


class Count(int):
    pass


class Ratio(float):
    pass


class Secretive(str):
    """What it makes of a text nobody can know."""

    __slots__ = ()

    def __new__(cls, first: str, second: str) -> Secretive:
        return super().__new__(cls, first + second)


class Place(NamedTuple):
    name: str
    day: dt.date


class Struct(msgspec.Struct, rename="camel"):
    taken_at: dt.datetime
    tags: set[str] = set()


class Where:
    """Any class that says which path it is."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return self.path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Where) and other.path == self.path

    __hash__ = None  # type: ignore[assignment]


class Model:
    """As pydantic's models are stored and read."""

    def __init__(self, day: dt.date) -> None:
        self.day = day

    def model_dump(self, *, mode: str, by_alias: bool, round_trip: bool) -> dict[str, Any]:
        assert (mode, by_alias, round_trip) == ("json", True, True)
        return {"day": self.day.isoformat()}

    @classmethod
    def model_validate(cls, value: Any) -> Model:
        if set(value) != {"day"}:
            raise ValueError("1 validation error for Model")
        return cls(dt.date.fromisoformat(value["day"]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and other.day == self.day

    __hash__ = None  # type: ignore[assignment]


Day = NewType("Day", dt.date)
T = TypeVar("T")

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
ZONES = st.builds(dt.timezone, st.integers(-1439, 1439).map(lambda n: dt.timedelta(minutes=n)))
MOMENTS = st.datetimes(timezones=st.none() | ZONES)
NUMBERS = st.decimals(allow_nan=False)
POINTS = st.builds(Point, st.integers(), st.integers(), TEXT)
LINES = st.builds(Line, NUMBERS, st.none() | TEXT.map(pathlib.Path))
ORDERS = st.builds(Order, MOMENTS, st.lists(LINES, max_size=2), st.none() | TEXT)
PLAIN: list[tuple[Any, Any]] = [
    (dt.datetime, MOMENTS),
    (dt.date, st.dates()),
    (dt.time, st.times(timezones=st.none() | ZONES)),
    (dt.timedelta, st.timedeltas()),
    (uuid.UUID, st.uuids()),
    (decimal.Decimal, NUMBERS),
    (bytes, st.binary(max_size=20)),
    (bytearray, st.binary(max_size=20).map(bytearray)),
    (pathlib.Path, TEXT.map(pathlib.Path)),
    (pathlib.PurePosixPath, TEXT.map(pathlib.PurePosixPath)),
    (os.PathLike, TEXT.map(pathlib.Path)),
    (os.PathLike[str], TEXT.map(pathlib.Path)),
    (Where, TEXT.map(Where)),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Flags, st.sampled_from([*Flags, Flags.A | Flags.B])),
    (Odd, st.sampled_from(Odd)),
    (Name, TEXT.map(Name)),
    (Count, st.integers().map(Count)),
    (Ratio, st.floats(allow_nan=False, allow_infinity=False).map(Ratio)),
    (Day, st.dates()),
    (Point, POINTS),
    (Order, ORDERS),
    (Place, st.builds(Place, TEXT, st.dates())),
    (Struct, st.builds(Struct, MOMENTS, st.sets(TEXT, max_size=3))),
    (Model, st.dates().map(Model)),
    (set, st.sets(TEXT, max_size=3)),
    (tuple, st.tuples(st.integers(), TEXT)),
]
NESTED: list[tuple[Any, Any]] = [
    (Optional[dt.date], st.none() | st.dates()),  # noqa: UP045 - both spellings
    (int | dt.date | None, st.none() | st.integers() | st.dates()),
    (float | Point, st.integers() | st.floats(allow_nan=False, allow_infinity=False) | POINTS),
    (Union[str, list[pathlib.Path]], TEXT | st.lists(TEXT.map(pathlib.Path), max_size=3)),  # noqa: UP007
    (list[Point], st.lists(POINTS, max_size=3)),
    (collections.abc.Sequence[dt.date], st.lists(st.dates(), max_size=3)),
    (collections.abc.Iterable[dt.date], st.lists(st.dates(), max_size=3)),
    (set[dt.date], st.sets(st.dates(), max_size=3)),
    (frozenset[tuple[int, dt.date]], st.frozensets(st.tuples(st.integers(), st.dates()), max_size=3)),
    (collections.abc.Set[int], st.sets(st.integers(), max_size=3)),
    (tuple[int, ...], st.lists(st.integers(), max_size=3).map(tuple)),
    (tuple[int, Point | None], st.tuples(st.integers(), st.none() | POINTS)),
    (dict[str, list[Order]], st.dictionaries(TEXT, st.lists(ORDERS, max_size=2), max_size=2)),
    (collections.abc.Mapping[str, Colour], st.dictionaries(TEXT, st.sampled_from(Colour), max_size=2)),
    (dict[int, str], st.dictionaries(st.integers(), TEXT, max_size=3)),
    (dict[dt.date, set[int]], st.dictionaries(st.dates(), st.sets(st.integers(), max_size=2), max_size=2)),
    (dict[dt.timedelta, None], st.dictionaries(st.timedeltas(), st.none(), max_size=2)),
    (dict[uuid.UUID, Odd], st.dictionaries(st.uuids(), st.sampled_from(Odd), max_size=2)),
    (dict[Colour, Name], st.dictionaries(st.sampled_from(Colour), TEXT.map(Name), max_size=2)),
    (typed.Options, st.fixed_dictionaries({"since": st.dates()}, optional={"depth": st.integers()})),
    (
        list[tuple[bytes, list[dict[str, decimal.Decimal]]]],
        st.just([(b"\x00", [{"a": decimal.Decimal("1.10")}])]),
    ),
]
CASES = PLAIN + NESTED
SEEN: list[Any] = []


def _receiver(place: int, hint: Any) -> Any:
    """A function of this module with one parameter, annotated."""

    def receive(value: Any, same: Any = None) -> None:
        SEEN.append((value, same))

    receive.__annotations__ = {"value": hint}
    receive.__qualname__ = receive.__name__ = f"receive_{place}"
    globals()[receive.__name__] = receive
    return receive


RECEIVERS = [_receiver(place, hint) for place, (hint, _) in enumerate(CASES)]


def alike(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict):
        return alike(sorted(one, key=repr), sorted(other, key=repr)) and all(
            alike(one[key], other[key]) for key in one
        )
    if isinstance(one, set | frozenset):
        return alike(sorted(one, key=repr), sorted(other, key=repr))
    if isinstance(one, list | tuple):
        return all(map(alike, one, other))
    if dataclasses.is_dataclass(one):
        return all(alike(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    return True


@pytest.mark.parametrize("place", range(len(CASES)), ids=[str(hint)[-40:] for hint, _ in CASES])
def test_a_function_is_given_an_equal_value_of_the_same_type(place: int) -> None:
    queue = JobQueue(":memory:")
    worker = Worker(queue)

    @given(CASES[place][1])
    @settings(max_examples=25)
    def check(value: Any) -> None:
        SEEN.clear()
        job_id = queue.submit(Job("one", RECEIVERS[place], {"value": value, "same": [1, "a"]}))
        assert worker.process_one()
        assert queue.get_status(job_id)["status"] == "completed", queue.get_status(job_id)["error"]
        (given_value, same) = SEEN.pop()
        assert alike(given_value, value)
        assert same == [1, "a"]

    check()
    worker.close()


def bound(function: Any, **params: Any) -> dict[str, Any]:
    """What a function is called with, from what is stored of its params."""
    stored = codec.decode(codec.encode(params, "params", codec.MAX_PARAMS))
    return binding.bind(function, stored)


def test_what_is_plain_is_neither_checked_nor_touched() -> None:
    params = {"a": "1", "b": 2, "c": ["x"], "d": [], "e": {"other": 1}, "f": "y", "g": "z", "h": None, "i": 1}
    assert binding.bind(typed.plain, params) is params
    assert binding._reader(typed.plain) is None


def test_plain_items_beside_named_ones_are_not_checked_either() -> None:
    def function(pairs: list[tuple[int, dt.date]], by: dict[str, tuple[float, ...]]) -> None: ...

    read = bound(function, pairs=[["no number", "2026-01-31"]], by={"a": ["x", 1]})
    assert read == {"pairs": [("no number", dt.date(2026, 1, 31))], "by": {"a": ("x", 1)}}


@pytest.mark.parametrize("value", [True, 1, 1.0, None, "2026-01-31"])
def test_plain_members_of_a_union_take_any_number(value: Any) -> None:
    def function(value: int | dt.date | None) -> None: ...

    read = bound(function, value=value)["value"]
    assert alike(read, dt.date(2026, 1, 31) if isinstance(value, str) else value)


def test_annotations_are_resolved_where_the_function_is_defined() -> None:
    order = Order(dt.datetime(2026, 1, 31), [Line(decimal.Decimal(1), pathlib.Path("a"))])
    params = {"orders": {"a": [order]}, "steps": [dt.timedelta(1)]}
    assert bound(typed.nested, **params) == {"orders": {"a": [order]}, "steps": (dt.timedelta(1),)}


def test_an_annotation_that_cannot_be_resolved_leaves_its_parameter_as_it_is() -> None:
    read = bound(typed.unresolved, when=dt.date(2026, 1, 31), what=Point(1, 2), other=[1])
    assert read == {"when": dt.date(2026, 1, 31), "what": {"x": 1, "y": 2, "label": ""}, "other": [1]}


def test_an_annotation_that_cannot_be_read_leaves_its_parameter_as_it_is() -> None:
    params = {
        "strange": Strange(dt.date(2026, 1, 31)),
        "either": dt.date(2026, 1, 31),
        "shapes": Point(1, 2),
        "loose": [dt.date(2026, 1, 31)],
    }
    plain = codec.decode(codec.encode(params, "params", 10_000))
    read = bound(typed.unreadable, **params, when=dt.date(2026, 1, 31))
    assert read == {**plain, "when": dt.date(2026, 1, 31)}


@pytest.mark.parametrize(
    "hint",
    [Secretive, collections.OrderedDict[str, dt.date], T, object, type[dt.date], dict[bool, int], 5, "1 +"],
)
def test_what_is_no_type_for_values_changes_nothing(hint: Any) -> None:
    def function(value: Any) -> None: ...

    function.__annotations__["value"] = hint
    params = {"value": "2026-01-31"}
    assert binding.bind(function, params) is params


def test_defaults_are_the_function_s_own_and_none_is_one_of_them() -> None:
    assert bound(typed.defaults) == {}
    assert bound(typed.defaults, when=None) == {"when": None}
    assert bound(typed.defaults, when=dt.date(2026, 1, 31)) == {"when": dt.date(2026, 1, 31)}


@pytest.mark.parametrize("function", [typed.after, typed.after_any])
def test_parent_results_are_nobody_s_params(function: Any) -> None:
    results = {"parent": "2026-01-31"}
    read = bound(function, when=dt.date(2026, 1, 31), parent_results=results)
    assert read == {"when": dt.date(2026, 1, 31), "parent_results": results}


def test_other_keywords_are_read_as_theirs_are_annotated() -> None:
    days = {"first": dt.date(2026, 1, 1), "second": dt.date(2026, 1, 2), "third": dt.date(2026, 1, 3)}
    assert bound(typed.keywords, **days) == days
    assert bound(typed.unpacked, since=days["first"], depth=2) == {"since": days["first"], "depth": 2}
    day = {"day": days["first"]}
    assert bound(typed.unclear, **day, since=days["second"]) == {**day, "since": "2026-01-02"}
    assert bound(typed.positional, where=Point(1, 2), dates=["2026"]) == {
        "where": Point(1, 2),
        "dates": ["2026"],
    }


@pytest.mark.parametrize("function", [typed.wrapped, typed.Made, typed.Called().__call__, typed.one])
def test_what_is_called_in_the_end_says_how(function: Any) -> None:
    name = "value" if function is typed.one else "when"
    assert bound(function, **{name: dt.date(2026, 1, 31)}) == {name: dt.date(2026, 1, 31)}


@pytest.mark.parametrize("function", [typed.unhashable, int, print, max])
def test_what_has_no_signature_to_read_is_given_plain_json(function: Any) -> None:
    assert bound(function, when=dt.date(2026, 1, 31)) == {"when": "2026-01-31"}


def test_a_function_is_looked_at_once() -> None:
    binding._reader.cache_clear()
    for _ in range(3):
        bound(typed.one, value=dt.date(2026, 1, 31))
    info = binding._reader.cache_info()
    assert (info.misses, info.hits) == (1, 2)


@pytest.mark.parametrize(
    ("function", "params", "told"),
    [
        (typed.one, {"value": "no date"}, "parameter 'value' of one cannot be read as .*RFC3339"),
        (typed.one, {"value": None}, "parameter 'value' of one .*got `null`"),
        (typed.several, {"when": 5, "where": Point(1, 2)}, "parameter 'when' of several "),
        (typed.several, {"where": {"x": 1}}, "parameter 'where' of several .*`y`"),
        (
            typed.nested,
            {"orders": {"a": [{"when": "x"}]}},
            r"parameter 'orders' of nested .*`orders\[...\]\[0\].when`",
        ),
        (typed.keywords, {"first": "2026-01-31", "other": "x"}, "parameter 'other' of keywords"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_parameter(function: Any, params: Any, told: str) -> None:
    with pytest.raises(InvalidValue, match=told):
        bound(function, **params)


@pytest.mark.parametrize(
    ("hint", "value", "told"),
    [
        (Model, {"night": 1}, "1 validation error for Model"),
        (Odd, "none of them", "'none of them' is no value of Odd"),
        (Colour, "green", "Invalid enum value 'green'"),
        (Name, 5, "Expected `str`, got `int`"),
        (pathlib.Path, 5, "not int"),
        (set[Any], [[1]], "unhashable type"),
    ],
)
def test_the_words_of_the_type_itself_are_told(hint: Any, value: Any, told: str) -> None:
    def function(value: Any) -> None: ...

    function.__annotations__["value"] = hint
    with pytest.raises(InvalidValue) as refusal:
        bound(function, value=value)
    assert told in str(refusal.value)
