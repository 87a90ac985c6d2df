"""Label selectors, and wishes that make no sense."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.errors import UsageError
from migrate.evacuate.planning.wish import Wish, parse_selector, selects

LABELS = {"tier": "web", "example.org/zone": "a", "empty": ""}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("  ", True),
        ("tier=web", True),
        ("tier==web", True),
        (" tier = web ", True),
        ("tier=db", False),
        ("tier!=db", True),
        ("tier!=web", False),
        ("other!=x", True),  # as kubectl: there is no such label, so it differs
        ("other=", False),
        ("empty=", True),
        ("empty", True),
        ("!empty", False),
        ("!other", True),
        ("! other", True),
        ("tier=web,example.org/zone=a,!other", True),
        ("tier=web,example.org/zone!=a", False),
    ],
)
def test_selectors(text: str, holds: bool) -> None:
    assert selects(parse_selector(text), LABELS) is holds


@pytest.mark.parametrize(
    "text",
    [
        "=web", "!", "!=", "tier=web,", ",", "a b", "a=b=c", "!a=b", "a in (b,c)", "a=b c",
        "a!b", "!!a", "a=!b", "x" * 5000,
    ],
)  # fmt: skip
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_selector(text)


@given(st.text(alphabet=st.sampled_from("ab=!, ()\t\0é"), max_size=12))
def test_any_text_is_a_selector_or_a_usage_error(text: str) -> None:
    try:
        parsed = parse_selector(text)
    except UsageError:
        return
    assert all(part.key and not set(part.key + part.value) & set("=!, ()") for part in parsed)
    assert (parsed == ()) == (not text.strip())


@pytest.mark.parametrize(
    "fields",
    [
        {"parallel": 0}, {"parallel": 65}, {"rate": 0.0}, {"rate": math.nan}, {"rate": math.inf},
        {"deadline": 0.0}, {"deadline": -1.0}, {"max_downtime": 0.0}, {"max_downtime": math.nan},
        {"on_failure": "panic"},
    ],
)  # fmt: skip
def test_wishes_without_sense_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Wish(**fields)  # type: ignore[arg-type]
