"""A container with a terminal, or with an open input: both go along with a checkpoint."""

from __future__ import annotations

import contextlib
import select
from collections.abc import Iterator

import pytest

from migrate.runtime.attaching import Attachment
from migrate.runtime.records import Record
from tests.checkpoint.conftest import Place

pytestmark = [pytest.mark.root, pytest.mark.criu]


@contextlib.contextmanager
def attached(
    place: Place, record: Record, size: tuple[int, int] | None = None
) -> Iterator[Attachment]:
    socket = place.paths.container(record.identifier).socket
    with contextlib.closing(Attachment(str(socket), size)) as made:
        yield made


def sees(attachment: Attachment, text: bytes) -> bytes:
    """Everything up to `text`, which has to come."""
    shown = b""
    while text not in shown:
        assert select.select([attachment], [], [], 20)[0], shown
        letter, data = attachment.receive()
        assert letter, shown
        shown += data
    return shown


def test_a_shell_at_a_terminal_goes_on(place: Place) -> None:
    record = place.make("box", ["/bin/sh"], terminal=True, interactive=True)
    with attached(place, record, (33, 77)) as first:
        first.type(b"A=kept; stty -echo; tty\n")
        sees(first, b"/dev/pts/0\r\n")
        place.migrate("checkpoint", "box", "--leave-running")
        first.type(b"echo $A one\n")
        sees(first, b"kept one\r\n")
        place.migrate("checkpoint", "box", "-o", "second")
        while first.receive()[0]:
            pass
    place.migrate("restore", "second")
    with attached(place, record) as again:
        again.type(b"stty size; tty; echo $A two\n")
        assert b"33 77\r\n/dev/pts/0\r\n" in sees(again, b"kept two\r\n")
        again.type(b"sh -c 'echo sleeps; exec sleep 1000'\n")
        sees(again, b"sleeps\r\n")
        again.type(b"\x03")
        sees(again, b"# ")
        again.type(b"echo $(($? > 128))-ended\n")
        sees(again, b"1-ended")
        again.type(b"exit 5\n")
        while again.receive()[0]:
            pass
    place.wait_for(lambda: place.status(record) == "stopped")
    assert "kept two" in "".join(place.log(record))


def test_input_that_was_not_read_is_read_after_the_restore(place: Place) -> None:
    text = "while [ ! -e /go ]; do sleep 0.02; done; wc -c"
    record = place.make("reads", ["/bin/sh", "-c", text], interactive=True)
    with attached(place, record) as first:
        first.type(b"1234\n" * 9000)
        for output in ("first", "second"):  # it is there once, however often it was looked at
            place.migrate("checkpoint", "reads", "--leave-running", "-o", output)
        place.migrate("checkpoint", "reads", "-o", "third")
    place.migrate("restore", "third")
    place.migrate("exec", "reads", "/usr/bin/touch", "/go")
    with attached(place, record) as again:
        again.type(b"the end\n")
        again.end_input()
        sees(again, b"45008\n")
    place.wait_for(lambda: place.status(record) == "stopped")


def test_a_container_without_input_reads_its_end(place: Place) -> None:
    record = place.make("reads", ["/bin/sh", "-c", "wc -c; exec sleep 1000"])
    place.wait_for(lambda: place.log(record) == ["0"])
    with attached(place, record) as looking:
        assert not looking.takes_input
        assert not looking.terminal
