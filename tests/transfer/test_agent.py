from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import DiskFull, HostNotReady, InternalError, MigrateError
from migrate.transfer import protocol
from migrate.transfer.agent import Context, serve
from migrate.transfer.client import AgentClient
from migrate.transfer.errors import (
    AgentIncompatible,
    ArgumentsInvalid,
    ConnectionLost,
    MethodUnknown,
    ProtocolError,
    TimeLimitExceeded,
)
from migrate.transfer.lifeline import Lifeline
from migrate.transfer.streams import PipeStream


def add(context: Context, *, left: int, right: int = 1) -> int:
    context.session["calls"] = context.session.get("calls", 0) + 1
    return left + right


def count(context: Context, to: int) -> str:
    for number in range(to):
        context.progress("counted", number=number)
    return "done"


def show(_context: Context, path: Path) -> str:
    return str(path / "x")


def fail(_context: Context, kind: str) -> None:
    if kind == "typed":
        raise HostNotReady("no criu", cause="not there", mend="install it")
    if kind == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "/var/x")
    if kind == "result":
        return object()  # type: ignore[return-value]
    raise KeyError("secret")


late = threading.Event()
"""What `sleep` waits for, after which its answer comes."""


def sleep(_context: Context) -> str:
    late.wait(60)
    return "slept"


METHODS = {"add": add, "count": count, "show": show, "fail": fail, "sleep": sleep}


@pytest.fixture
def client() -> Iterator[AgentClient]:
    made = AgentClient.local(METHODS, capabilities=("one",))
    yield made
    made.close()


def test_calls(client: AgentClient) -> None:
    assert client.hello.capabilities == ("one",)
    assert client.call("add", left=2) == 3
    assert client.call("add", left=2, right=5, unknown="ignored") == 7
    assert client.call("show", path="/a") == "/a/x"


def test_session_and_on_close() -> None:
    session: dict[str, Any] = {}
    closed = threading.Event()
    client = AgentClient.local(METHODS, session=session, on_close=closed.set)
    client.call("add", left=1)
    client.call("add", left=1)
    client.close()
    assert closed.wait(20)
    assert session == {"calls": 2}


def test_events(client: AgentClient) -> None:
    seen: list[tuple[str, Any]] = []
    assert client.call("count", to=3, on_event=lambda n, d: seen.append((n, d))) == "done"
    assert seen == [("counted", {"number": n}) for n in range(3)]
    assert client.call("count", to=3) == "done"


@pytest.mark.parametrize(
    ("method", "arguments", "kind"),
    [
        ("nonsense", {}, MethodUnknown),
        ("__class__", {}, MethodUnknown),
        ("add", {}, ArgumentsInvalid),
        ("add", {"left": "2"}, ArgumentsInvalid),
        ("show", {"path": 3}, ArgumentsInvalid),
        ("fail", {"kind": "typed"}, HostNotReady),
        ("fail", {"kind": "full"}, DiskFull),
        ("fail", {"kind": "other"}, InternalError),
        ("fail", {"kind": "result"}, ProtocolError),
    ],
)
def test_errors(
    client: AgentClient, method: str, arguments: dict[str, Any], kind: type[MigrateError]
) -> None:
    with pytest.raises(MigrateError) as caught:
        client.call(method, **arguments)
    assert type(caught.value) is kind
    assert "Traceback" not in str(caught.value)
    assert client.call("add", left=1) == 2


def test_a_late_answer_is_dropped(client: AgentClient) -> None:
    late.clear()
    with pytest.raises(TimeLimitExceeded, match="sleep"):
        client.call("sleep", timeout=0.05)
    late.set()
    assert client.call("add", left=4, timeout=20) == 5


def test_calls_after_the_end(client: AgentClient) -> None:
    client.close()
    with pytest.raises(ConnectionLost, match="add"):
        client.call("add", left=1)


def test_the_agent_dies_during_a_call() -> None:
    near, far = socket.socketpair()
    far.sendall(protocol.encode(protocol.Hello(1)))
    client = AgentClient(near, peer="there")
    client.handshake()
    threading.Timer(0.1, far.close).start()
    with pytest.raises(ConnectionLost, match="'add'"):
        client.call("add", left=1)
    near.close()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (protocol.encode(protocol.Hello(0)), AgentIncompatible),
        (protocol.encode(protocol.Response(1)), ProtocolError),
        (b"Last login: today\n", ProtocolError),
        (b"", ConnectionLost),
    ],
)
def test_handshakes_that_fail(answer: bytes, kind: type[MigrateError]) -> None:
    near, far = socket.socketpair()
    far.sendall(answer)
    far.shutdown(socket.SHUT_WR)
    with near, far, pytest.raises(kind):
        AgentClient(near).handshake()


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff\xff\xff\xff",
        protocol.encode(protocol.Request(1, "add")),
        protocol.encode(protocol.Hello(0)),
        protocol.encode(protocol.Hello(1)) + protocol.encode(protocol.Response(1)),
        protocol.encode(protocol.Hello(1))[:-1],
    ],
)
def test_a_client_that_breaks_the_protocol(sent: bytes) -> None:
    near, far = socket.socketpair()
    near.sendall(sent)
    near.shutdown(socket.SHUT_WR)
    closed = threading.Event()
    serve(far.fileno(), far.fileno(), METHODS, on_close=closed.set)
    far.close()
    decoder = protocol.FrameDecoder()
    messages = []
    while data := near.recv(65536):
        messages += decoder.feed(data)
    near.close()
    assert closed.is_set()
    assert isinstance(messages[-1], protocol.Failure)
    assert messages[-1].id == 0


def test_a_client_that_is_gone_does_not_disturb_a_method() -> None:
    near, far = socket.socketpair()
    ended: list[bool] = []

    def work(context: Context) -> None:
        near.close()
        for _ in range(5):
            context.progress("still here")
        ended.append(context.peer_gone)

    near.sendall(protocol.encode(protocol.Hello(1)) + protocol.encode(protocol.Request(1, "work")))
    serve(far.fileno(), far.fileno(), {"work": work})
    far.close()
    assert ended == [True]


def test_methods_need_named_arguments() -> None:
    def bad(_context: Context, *anything: int) -> None:
        del anything

    with pytest.raises(TypeError):
        serve(0, 1, {"bad": bad})


def test_pipes() -> None:
    to_agent, from_agent = os.pipe(), os.pipe()
    thread = threading.Thread(target=serve, args=(to_agent[0], from_agent[1], METHODS))
    thread.start()
    stream = PipeStream(from_agent[0], to_agent[1])
    client = AgentClient(stream)
    client.handshake()
    assert client.call("add", left=1, timeout=20) == 2
    late.clear()
    with pytest.raises(TimeLimitExceeded):
        client.call("sleep", timeout=0.05)
    late.set()
    client.close()
    client.close()
    thread.join(20)
    os.close(to_agent[0])
    os.close(from_agent[1])


def test_an_idle_agent_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """They let a dead connection be found out; a client drops them."""
    monkeypatch.setattr("migrate.transfer.agent.HEARTBEAT", 0.02)
    near, far = socket.socketpair()
    with near, far:
        thread = threading.Thread(target=serve, args=(far.fileno(), far.fileno(), METHODS))
        thread.start()
        near.settimeout(20)
        decoder, seen = protocol.FrameDecoder(), []
        while len(seen) < 4:
            seen += decoder.feed(near.recv(4096))
        assert isinstance(seen[0], protocol.Hello)
        assert all(message == protocol.Event(0, "alive") for message in seen[1:])
        near.shutdown(socket.SHUT_RDWR)
        thread.join(20)
        assert not thread.is_alive()


def test_an_agent_whose_link_has_failed_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client never closes anything: it was cut off."""
    monkeypatch.setattr("migrate.transfer.agent.HEARTBEAT", 0.01)
    monkeypatch.setattr("migrate.transfer.agent.LOOK_EVERY", 0.01)
    monkeypatch.setattr("migrate.transfer.lifeline.CUT_AFTER", 0.1)
    repeated, closed = [0], threading.Event()
    near, far = socket.socketpair()
    with near, far:
        thread = threading.Thread(
            target=serve, args=(far.fileno(), far.fileno(), METHODS),
            kwargs={"on_close": closed.set, "lifeline": Lifeline(lambda: repeated[0])},
        )  # fmt: skip
        thread.start()
        assert not closed.wait(0.3)
        repeated[0] = 1
        assert closed.wait(20)
        thread.join(20)
        assert not thread.is_alive()


def test_signs_of_life_disturb_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrate.transfer.agent.HEARTBEAT", 0.005)
    client = AgentClient.local(METHODS)
    try:
        for number in range(5):
            time.sleep(0.03)
            assert client.call("add", left=number) == number + 1
    finally:
        client.close()
