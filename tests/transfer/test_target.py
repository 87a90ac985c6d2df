from __future__ import annotations

import pytest

from migrate.transfer.errors import TargetInvalid
from migrate.transfer.target import Target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host", Target("host")),
        ("root@host", Target("host", "root")),
        ("root@host.example:2222", Target("host.example", "root", 2222)),
        ("me@corp@host", Target("host", "me@corp")),
        ("[::1]", Target("::1")),
        ("root@[fe80::1]:22", Target("fe80::1", "root", 22)),
    ],
)
def test_parse(text: str, expected: Target) -> None:
    assert Target.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "@host", "root@", "host:", "host:0", "host:65536", "host:x", "::1", "fe80::1:22",
        "[host]", "[::1", "-oProxyCommand=x", "-l@host", "a b", "host;ls", "ro ot@host", "h\n",
    ],
)  # fmt: skip
def test_what_names_no_host(text: str) -> None:
    with pytest.raises(TargetInvalid):
        Target.parse(text)
