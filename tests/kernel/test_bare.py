"""The short forms of standard modules mean what those mean, and load nothing of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import migrate
from migrate.kernel import bare

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
HEAVY = "enum re typing collections functools selectors contextlib json signal socket dataclasses"
NEVER = {*HEAVY.split(), "pathlib", "subprocess", "msgspec", "click"}
CHECKOUT = Path(migrate.__file__).parents[1]


@given(VALUES)
def test_json_is_that_of_the_library(value: object):
    text = json.dumps(value)
    assert bare.json.dumps(value) == text
    assert bare.json.loads(text) == value
    assert bare.json.loads(f" \n{json.dumps(value, indent=2)}\t\r\n".encode()) == value


@pytest.mark.parametrize(
    "text", ["", " ", "{", "[1,]", "nope", '{"a": 1} 2', '"\n"', '{"a"}', b"\xff", "{1: 2}", "01"]
)
def test_json_that_is_none_is_a_value_error(text: str | bytes):
    with pytest.raises(ValueError):  # noqa: PT011 -- that is all that is promised
        bare.json.loads(text)


def test_json_of_what_has_none_is_a_type_error():
    with pytest.raises(TypeError):
        bare.json.dumps({"a": object()})


def test_suppress_ends_the_block_and_lets_others_pass():
    with bare.contextlib.suppress(KeyError, OSError):
        raise FileNotFoundError
    with pytest.raises(ValueError, match="x"), bare.contextlib.suppress(OSError):
        raise ValueError("x")


def _steps(seen: list[str], *, catches: bool = False) -> Iterator[str]:
    seen.append("in")
    try:
        yield "given"
    except KeyError:
        if not catches:
            raise
    finally:
        seen.append("out")


@pytest.mark.parametrize("made", [bare.contextlib.contextmanager, contextlib.contextmanager])
def test_a_context_manager_out_of_a_generator(made):
    seen: list[str] = []
    with made(_steps)(seen) as given:
        assert given == "given"
    with pytest.raises(ZeroDivisionError), made(_steps)(seen):
        1 / 0  # noqa: B018
    with made(_steps)(seen, catches=True):
        raise KeyError
    assert seen == ["in", "out"] * 3


@pytest.mark.parametrize("made", [bare.contextlib.contextmanager, contextlib.contextmanager])
def test_an_error_of_the_generator_takes_the_place_of_the_blocks(made):
    def translated() -> Iterator[None]:
        try:
            yield
        except KeyError as error:
            raise ValueError("instead") from error

    with pytest.raises(ValueError, match="instead") as raised, made(translated)():
        raise KeyError("first")
    assert isinstance(raised.value.__cause__, KeyError)


def test_accepted_connections_are_not_passed_on(tmp_path):
    for module in (bare.socket, socket):
        listener = module.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(tmp_path / f"{module.__name__}"))
        listener.listen()
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.connect(listener.getsockname())
        with bare.contextlib.closing(bare.accept(listener)) as connection:
            client.send(b"word")
            assert connection.recv(100) == b"word"
            assert not os.get_inheritable(connection.fileno())
        listener.close()
        client.close()


def test_signals_have_the_librarys_numbers():
    for name in ("SIGINT", "SIGTERM", "SIGCHLD", "SIG_DFL", "SIG_IGN", "SIG_SETMASK"):
        assert getattr(bare.signal, name) == getattr(signal, name)


@pytest.mark.parametrize(
    "modules",
    [
        ("migrate.cli.entry", "migrate.cli.quick", "migrate.runtime.monitor"),
        ("migrate.oci.entry", "migrate.oci.main", "migrate.oci.show", "migrate.oci.records"),
    ],
)
def test_the_short_ways_load_nothing_large(modules: tuple[str, ...]):
    """Each of these takes a millisecond or more, and faults of memory in every process of them."""
    code = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); import {', '.join(modules)}; " \
        "print(*sys.modules)"  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert NEVER.isdisjoint(done.stdout.split())
