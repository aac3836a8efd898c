"""Functions and their names: what is stored of a callable, and how a worker finds it again.

A function is stored as module and qualified name. One of the script itself (``__main__``) carries the path of that
script, so that another process can load it; one typed into an interpreter carries the process that has it.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from gigq import ids
from gigq.errors import FunctionUnavailable, InvalidJob

SCRIPT_MODULE = "__gigq_main__"
"""The name under which a worker loads somebody else's script."""

_here = threading.local()
_scripts: dict[str, ModuleType] = {}
_scripts_lock = threading.Lock()


class Reference(NamedTuple):
    """What is stored of a function."""

    module: str
    name: str
    script: str | None = None
    """For ``__main__``: the path of the script, or ``process:...`` where there is no file."""


class _EndOfLoad(BaseException):
    """Ends the loading of a script at the first line that would do work."""


def bare(function: Any) -> Any:
    """The function beneath a ``@task``; anything else as it is."""
    return getattr(function, "_gigq_function", function)


def refer(function: Any) -> Reference:
    """What to store of a callable, or of the text ``module.function``.

    Raises:
        InvalidJob: nobody else could find it: a lambda, a closure, a bound method, a callable object.
    """
    if isinstance(function, str):
        module, dot, name = function.rpartition(".")
        if not dot or not module or not name.isidentifier():
            raise InvalidJob(f"function: {function!r} is not of the form 'module.function'")
        return Reference(module, name)
    if not callable(function):
        raise InvalidJob(
            f"function: a callable or 'module.function' is needed, not {type(function).__name__}"
        )
    name = getattr(function, "__qualname__", "")
    module = getattr(function, "__module__", None) or ""
    if (
        (hasattr(function, "__self__") and not isinstance(function.__self__, ModuleType))
        or not name
        or not module
    ):
        raise InvalidJob(
            f"function: {function!r:.200} cannot be found again by a worker. "
            "Pass a function of a module, and what it needs as params."
        )
    if "<lambda>" in name:
        raise InvalidJob(
            "function: a lambda cannot be found again by a worker. Define a named function in a module."
        )
    if "<locals>" in name:
        raise InvalidJob(
            f"function: {name} is nested in another function (a closure); a worker cannot find it. "
            "Move it to the top of its module and pass what it needs as params."
        )
    if module == SCRIPT_MODULE:  # in a worker: a job of a script adds another
        return Reference("__main__", name, _script_of(function, name))
    return _refer_main(name) if module == "__main__" else Reference(module, name)


def _refer_main(name: str) -> Reference:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:  # python -m pkg.mod
        return Reference(spec.name, name)
    path = getattr(main, "__file__", None)
    if path is None or not os.path.isfile(path):
        return Reference("__main__", name, _this_process())
    return Reference("__main__", name, os.path.realpath(path))


def _script_of(function: Any, name: str) -> str:
    """The loaded script that has it; one that is just being loaded is the last."""
    for script, module in _scripts.items():
        if bare(getattr(module, name, None)) is function:
            return script
    return os.path.realpath(sys.modules[SCRIPT_MODULE].__file__ or "")


def _this_process() -> str:
    return f"process:{ids.of_this_boot()}:{os.getpid()}"


def load(module: str, name: str, script: str | None = None) -> Callable[..., Any]:
    """The function of a reference.

    Raises:
        FunctionUnavailable: module or name do not exist in this process.
        BaseException: whatever the module raises while it is imported.
    """
    found: Any = _load_main(script) if module == "__main__" else _import(module)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            where = script if module == "__main__" and script else module
            raise FunctionUnavailable(f"{where} has no {name}", module) from None
    function = bare(found)
    if not callable(function):
        raise FunctionUnavailable(f"{module}.{name} is not callable", module)
    return function  # type: ignore[no-any-return]


def available(module: str, name: str, script: str | None) -> bool:
    """Whether this process could load a function, without importing anything new but parent packages."""
    if module == "__main__":
        return script is not None and (is_own_main(script) or os.path.isfile(script))
    loaded = sys.modules.get(module)
    if loaded is not None:
        return hasattr(loaded, name.partition(".")[0])
    import importlib.util

    importlib.invalidate_caches()
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _import(module: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module == missing or module.startswith(f"{missing}."):
            raise FunctionUnavailable(f"no module named {missing} here", module) from None
        raise


def is_typed(script: str | None) -> bool:
    """Whether it is no script, but what was typed into an interpreter."""
    return script is not None and script.startswith("process:")


def is_own_main(script: str) -> bool:
    """Whether it is the script, or the interpreter, of this process."""
    if is_typed(script):
        return script == _this_process()
    path = getattr(sys.modules["__main__"], "__file__", None)
    return path is not None and os.path.realpath(path) == script


def _load_main(script: str | None) -> ModuleType:
    if script is None or is_own_main(script):
        return sys.modules["__main__"]
    if is_typed(script):
        pid = script.rpartition(":")[2]
        raise FunctionUnavailable(
            f"it was typed into the interpreter of process {pid} (python -c, a notebook, a prompt), and no other process "
            "has it. A worker in threads of that process can run it, Worker(..., executor='thread'); with child "
            "processes, or elsewhere, put it into a module",
            "__main__",
        )
    with _scripts_lock:
        if script not in _scripts:
            _scripts[script] = _load_script(script)
        return _scripts[script]


def _load_script(script: str) -> ModuleType:
    """Run a script up to the first line that would submit or work, and keep what it defined."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(SCRIPT_MODULE, script)
    if spec is None or spec.loader is None or not os.path.isfile(script):
        raise FunctionUnavailable(f"the script {script} is not here", "__main__")
    folder = os.path.dirname(script)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[SCRIPT_MODULE] = module
    _here.loading = True
    try:
        spec.loader.exec_module(module)
    except _EndOfLoad:
        pass
    finally:
        _here.loading = False
    return module


def loading_script() -> bool:
    """Whether this thread is just loading somebody's script to find a function in it."""
    return getattr(_here, "loading", False)


def end_load() -> None:
    """Called first by everything that submits or works: a script that is only being loaded ends here."""
    if loading_script():
        raise _EndOfLoad


@functools.lru_cache(maxsize=4096)
def is_async(function: Callable[..., Any]) -> bool:
    """Whether it is a coroutine function."""
    import inspect

    return inspect.iscoroutinefunction(function)


@functools.lru_cache(maxsize=4096)
def accepts_parent_results(function: Callable[..., Any]) -> bool:
    """Whether a function has a parameter ``parent_results`` or takes any keyword."""
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.kind is p.VAR_KEYWORD or p.name == "parent_results" for p in parameters)
