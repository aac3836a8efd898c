"""Functions and their names: what is stored, what is refused, and how it is found again."""

from __future__ import annotations

import functools
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobs
import pytest

from gigq import FunctionUnavailable, InvalidJob, callables, task
from gigq.callables import Reference


class Machine:
    def work(self) -> None: ...

    @staticmethod
    def shared() -> str:
        return "shared"

    def __call__(self) -> None: ...


def outer() -> Callable[[], None]:
    def inner() -> None: ...

    return inner


@task
def decorated() -> str:
    return "decorated"


anonymous = lambda: None  # noqa: E731

NOT_TO_BE_FOUND = [
    (anonymous, "lambda.*named function"),
    (outer(), "closure.*top of its module"),
    (Machine().work, "cannot be found again"),
    (Machine(), "cannot be found again"),
    (functools.partial(jobs.add, 1), "cannot be found again"),
    ([].append, "cannot be found again"),
    (42, "callable"),
    (None, "callable"),
    ("", "module.function"),
    ("nothing", "module.function"),
    (".nothing", "module.function"),
    ("jobs.", "module.function"),
    ("jobs.not a name", "module.function"),
]


@pytest.mark.parametrize(
    ("function", "hint"), NOT_TO_BE_FOUND, ids=lambda value: str(value).split(" at 0x")[0][:30]
)
def test_what_a_worker_could_not_find_is_refused_with_what_to_do(function: Any, hint: str) -> None:
    with pytest.raises(InvalidJob, match=hint) as refusal:
        callables.refer(function)
    assert str(refusal.value).startswith("function: ")


def test_a_function_is_its_module_and_its_qualified_name() -> None:
    assert callables.refer(jobs.add) == Reference("jobs", "add", None)
    assert callables.refer(Machine.shared) == Reference(__name__, "Machine.shared", None)
    assert callables.refer(Path) == Reference(Path.__module__, "Path", None)


def test_a_text_is_split_at_its_last_dot_and_nothing_is_imported() -> None:
    assert callables.refer("no.such.module.function") == Reference("no.such.module", "function", None)
    assert "no" not in sys.modules


def test_what_was_referred_to_is_found_again() -> None:
    assert callables.load(*callables.refer(jobs.add)) is jobs.add
    assert callables.load(*callables.refer(Machine.shared)) is Machine.shared
    assert callables.load("os.path", "join")("a", "b") == str(Path("a", "b"))


def test_a_task_is_found_as_the_bare_function() -> None:
    assert callables.bare(decorated) is decorated.__wrapped__
    assert callables.load(*callables.refer(callables.bare(decorated))) is decorated.__wrapped__


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Writes modules that can be imported during the test."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> None:
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
        for part in (name, name.partition(".")[0]):
            monkeypatch.delitem(sys.modules, part, raising=False)

    return write


Write = Callable[[str, str], None]


@pytest.mark.parametrize(
    ("module_name", "function"), [("no_such_module", "f"), ("jobs.sub", "f"), ("no_such.sub", "f")]
)
def test_a_missing_module_is_unavailable_here(module_name: str, function: str) -> None:
    with pytest.raises(FunctionUnavailable) as missing:
        callables.load(module_name, function)
    assert missing.value.module == module_name
    assert not callables.available(module_name, function, None)


@pytest.mark.parametrize("name", ["no_such_function", "add.deeper", "Path.no_such"])
def test_a_missing_name_is_unavailable_here(name: str) -> None:
    with pytest.raises(FunctionUnavailable, match=name.partition(".")[0]) as missing:
        callables.load("jobs", name)
    assert missing.value.module == "jobs"


def test_a_name_that_is_no_function_is_unavailable_here(module: Write) -> None:
    module("constants_only", "answer = 42")
    with pytest.raises(FunctionUnavailable, match="not callable"):
        callables.load("constants_only", "answer")


def test_a_module_that_raises_while_it_is_imported_raises_its_own_error(module: Write) -> None:
    module("raises_at_once", "1 / 0")
    with pytest.raises(ZeroDivisionError):
        callables.load("raises_at_once", "f")


def test_a_module_that_misses_another_one_is_not_missing_itself(module: Write) -> None:
    module("misses_another", "import no_such_dependency\ndef f(): pass")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        callables.load("misses_another", "f")


def test_looking_whether_a_module_is_there_does_not_run_it(module: Write) -> None:
    module("folder.there", "raise RuntimeError('it was run')\ndef f(): pass")
    assert callables.available("folder.there", "f", None)
    assert not callables.available("folder.elsewhere", "f", None)
    assert "folder.there" not in sys.modules


def test_a_module_that_appears_later_is_seen(module: Write) -> None:
    assert not callables.available("comes_later", "f", None)
    module("comes_later", "def f(): return 'here'")
    assert callables.available("comes_later", "f", None)
    assert callables.load("comes_later", "f")() == "here"


def test_a_script_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    script = str(tmp_path / "gone.py")
    assert not callables.available("__main__", "f", script)
    with pytest.raises(FunctionUnavailable, match=r"gone\.py"):
        callables.load("__main__", "f", script)


def test_a_function_typed_into_another_process_is_unavailable() -> None:
    elsewhere = "process:another-boot:1"
    assert not callables.available("__main__", "f", elsewhere)
    with pytest.raises(FunctionUnavailable, match="interpreter"):
        callables.load("__main__", "f", elsewhere)


def wants(parent_results: Any) -> None: ...
def wants_by_keyword(*, parent_results: Any = None) -> None: ...
def takes_anything(**anything: Any) -> None: ...
def takes_places(*anything: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "accepts"),
    [
        (wants, True),
        (wants_by_keyword, True),
        (takes_anything, True),
        (takes_places, False),
        (jobs.add, False),
        (jobs.merge, True),
        (dict.fromkeys, False),
        (type, False),
    ],
)
def test_a_function_wants_parent_results_if_it_has_such_a_parameter_or_takes_any(
    function: Callable[..., Any], accepts: bool
) -> None:
    assert callables.accepts_parent_results(function) == accepts


def test_outside_the_loading_of_a_script_nothing_ends() -> None:
    assert not callables.loading_script()
    callables.end_load()
