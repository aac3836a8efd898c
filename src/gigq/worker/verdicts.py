"""What an exception means for its job: judged where the exception is, in the thread or the child that ran the function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from gigq import retry
from gigq.clock import from_seconds, microseconds
from gigq.control import Control, Verdict, retry_after, verdict_of
from gigq.worker import describe

T = TypeVar("T")


class Facts(Protocol):
    """What is known of the job."""

    @property
    def attempts(self) -> int: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def retry(self) -> str | None: ...
    @property
    def script(self) -> str | None: ...


class Judge:
    """Judges one exception. It asks code of the caller, and bears whatever comes of that."""

    def __init__(
        self, error: BaseException, facts: Facts, is_the_users: Callable[[BaseException], bool]
    ) -> None:
        """Args:
        error: what the function has raised.
        facts: of its job.
        is_the_users: whether an exception is Ctrl-C, which nothing here may swallow.
        """
        self._error = error
        self._facts = facts
        self._is_the_users = is_the_users
        self._notes: list[str] = []
        self._spec: retry.Spec = {}

    def verdict(self) -> Verdict:
        """What the error means; in the notes what it does not say by itself.

        Raises:
            KeyboardInterrupt: it is the user's.
        """
        said = Verdict()
        is_control = issubclass(type(self._error), Control)
        if is_control:
            said = self._try(lambda: verdict_of(self._error), "cannot be read", said)  # type: ignore[arg-type]
        text = self._facts.retry
        if text is not None and said == Verdict():
            self._spec = retry.read(text)
            said = self._by_policy(is_control)
        return said._replace(note="".join(f"\ngigq: {note}\n" for note in self._notes))

    def _by_policy(self, is_control: bool) -> Verdict:
        if not is_control and self._is_forbidden():
            return Verdict("fatal")
        attempt = self._facts.attempts + 1
        if attempt >= self._facts.max_attempts:
            return Verdict()  # it fails, whatever the delay
        if "call" in self._spec:
            return self._ask(attempt)
        delay = retry.delay(self._spec, attempt)
        if delay is not None and self._spec.get("respect_retry_after", True):
            asked = self._try(lambda: retry_after(self._error), "its Retry-After cannot be read", None)
            delay = max(delay, from_seconds(asked or 0))
        return Verdict(delay=delay)

    def _is_forbidden(self) -> bool:
        if name := self._match("fail_on"):
            self._notes.append(f"not tried again: {_short(name)} is among fail_on")
            return True
        if "retry_on" in self._spec and not self._match("retry_on"):
            names = ", ".join(map(_short, self._spec["retry_on"]))
            self._notes.append(f"not tried again: it is none of retry_on ({names})")
            return True
        return False

    def _match(self, field: str) -> str | None:
        """The first of the classes that it is an instance of."""
        for name in self._spec.get(field, ()):
            if self._try(lambda name=name: self._is(name), f"{field}: {_short(name)} cannot be asked", False):  # type: ignore[misc]
                return str(name)
        return None

    def _is(self, name: str) -> bool:
        return isinstance(self._error, retry.find(name, self._script))

    def _ask(self, attempt: int) -> Verdict:
        """The caller's own function."""
        name = self._spec["call"]
        nothing: Any = object()
        answer = self._try(
            lambda: retry.find(name, self._script)(attempt, self._error),
            f"the retry policy {name} failed",
            nothing,
        )
        if answer is None:
            self._notes.append(f"not tried again: the retry policy {name} gave it up")
            return Verdict("fatal")
        delay = None if answer is nothing else microseconds(answer)
        if delay is None:
            if answer is not nothing:
                self._notes.append(
                    f"the retry policy {name} returned no seconds, but {describe.value(answer):.200}"
                )
            delay = retry.default(attempt)
        return Verdict(delay=delay)

    @property
    def _script(self) -> str | None:
        script: str | None = self._spec.get("script", self._facts.script)
        return script

    def _try(self, ask: Callable[[], T], what: str, otherwise: T) -> T:
        try:
            return ask()
        except BaseException as worse:
            if self._is_the_users(worse):
                raise
            self._notes.append(f"{what}: {describe.error(worse).partition(chr(10))[0]}")
            return otherwise


def _short(name: str) -> str:
    return name.removeprefix("builtins.")
