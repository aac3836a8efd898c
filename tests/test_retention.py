"""Ages: what is accepted, and how they are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gigq import InvalidJob, retention


@pytest.mark.parametrize(
    ("age", "seconds"),
    [
        (90, 90),
        (0.5, 0.5),
        (timedelta(days=7), 7 * 86400),
        ("7d", 7 * 86400),
        ("36h", 36 * 3600),
        (" 1D12H ", 36 * 3600),
        ("2w", 14 * 86400),
        ("1.5m", 90),
        ("90s", 90),
        (1e-9, 0.000001),
    ],
)
def test_what_is_an_age(age: Any, seconds: float) -> None:
    assert retention.microseconds(age, "completed") == round(seconds * 1e6)


@pytest.mark.parametrize(
    "age",
    [
        *(
            0,
            -1,
            0.0,
            float("nan"),
            float("inf"),
            True,
            timedelta(0),
            timedelta(days=-1),
            timedelta(days=40_000),
        ),
        *("", "7", "7 days", "d", "-7d", "7d ago", "0s", "1e3s", "\u0667d", [], b"7d", 10**12),
    ],
    ids=repr,
)
def test_what_is_none_is_refused_naming_the_field(age: Any) -> None:
    with pytest.raises(InvalidJob, match=r"^cancelled: .*'7d'"):
        retention.microseconds(age, "cancelled")


@given(st.integers(1, 100 * 365 * 86400 * 1_000_000))
def test_what_is_told_means_the_same(microseconds: int) -> None:
    assert retention.microseconds(retention.text(microseconds / 1e6), "x") == pytest.approx(
        microseconds, abs=1
    )


def test_it_is_told_in_few_words() -> None:
    assert [retention.text(seconds) for seconds in (7 * 86400, 129600, 90, 0.25)] == [
        "1w",
        "1d12h",
        "1m30s",
        "0.25s",
    ]
