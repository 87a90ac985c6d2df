"""How long a container is away, seen from the operator's machine: echoes of its address.

An ICMP echo request (RFC 792) goes to the address every 5 ms while the container moves; the longest
time without an answer is its service gap as the network sees it. Packets for a container that is
frozen are kept and delivered after the thaw (`runtime/networks`), so that no answer comes between:
the freeze shows, and beside it what routes and neighbours need. What the program inside needs to
wake up does not.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import struct
import threading
import time
from types import TracebackType

EVERY = 0.005  # seconds between requests
LAST_ANSWER = 2.0  # seconds in which an answer may still come when the move is over
_REQUEST, _REPLY = 8, 0  # ICMP types


class Watch:
    """A context manager: asks from the beginning to the end of the `with`.

    `address` may have a prefix length. Where there is none, or no socket for echoes can be had
    (ping_group_range of ip-sysctl.rst, CAP_NET_RAW), nothing is asked.
    """

    def __init__(self, address: str) -> None:
        self._address = address.partition("/")[0]
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._ask, name="echoes", daemon=True)
        self._over = threading.Event()
        self._answers = 0
        self._longest = 0.0
        self._last = 0.0  # answer, on the monotonic clock
        self._answers_after = False  # the move

    def __enter__(self) -> Watch:
        if self._address:
            self._socket = _echo_socket(self._address)
        if self._socket is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._over.set()
        if self._socket is not None:
            self._thread.join()
            self._socket.close()

    @property
    def longest(self) -> float | None:
        """Seconds of the longest silence; None when the address does not answer from here.

        That is: not before the move, or not after it.
        """
        return self._longest if self._answers > 1 and self._answers_after else None

    def _ask(self) -> None:
        assert self._socket is not None
        number, next_at, ends_at = 0, time.monotonic(), 0.0
        while not self._answers_after:
            now = time.monotonic()
            if self._over.is_set():
                ends_at = ends_at or now
                if now > ends_at + LAST_ANSWER or not self._answers:
                    return
            if now >= next_at:
                number, next_at = (number + 1) & 0xFFFF, now + EVERY
                with contextlib.suppress(OSError):  # no route meanwhile: a silence like others
                    self._socket.send(_request(number))
            if select.select([self._socket], [], [], max(0.0, next_at - time.monotonic()))[0]:
                self._hear(ends_at)

    def _hear(self, ends_at: float) -> None:
        assert self._socket is not None
        try:
            packet = self._socket.recv(2048)
        except OSError:  # unreachable: told by a router, or by this host
            return
        if not _is_reply(packet, raw=self._socket.type == socket.SOCK_RAW):
            return
        now = time.monotonic()
        if self._answers:
            self._longest = max(self._longest, now - self._last)
        self._answers += 1
        self._last = now
        self._answers_after = bool(ends_at)


def _echo_socket(address: str) -> socket.socket | None:
    """A socket for echoes of this address alone; None where there can be none."""
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        return None
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):  # the first needs no privilege (icmp(7))
        with contextlib.suppress(OSError):
            made = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMP)
            try:
                made.connect((address, 0))
            except OSError:
                made.close()
                raise
            made.setblocking(False)
            return made
    return None


def _request(number: int) -> bytes:
    """An echo request; a datagram socket puts in its own identifier and checksum."""
    identifier = os.getpid() & 0xFFFF
    total = (_REQUEST << 8) + identifier + number
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!BBHHH", _REQUEST, 0, ~total & 0xFFFF, identifier, number)


def _is_reply(packet: bytes, *, raw: bool) -> bool:
    """Whether it answers us; a raw socket gets the IP header, and what others have asked."""
    if not raw:
        return packet[:1] == bytes([_REPLY])
    start = (packet[0] & 0x0F) * 4 if packet else 0
    if len(packet) < start + 8:
        return False
    identifier = int.from_bytes(packet[start + 4 : start + 6], "big")
    return packet[start] == _REPLY and identifier == os.getpid() & 0xFFFF
