"""Fills a Redis with known values, and checks every one of them.

`redisdata.py fill|check ADDRESS PORT KEYS KIND`. The keys are those that `redis-benchmark -r KEYS`
writes to; KIND is random or text. A value that is not the one that was filled in counts as right
only if it is what redis-benchmark writes: the same SIZE bytes under every key that it has written.
`check` prints `{"wrong": N, "overwritten": N}`.
"""

from __future__ import annotations

import json
import random
import socket
import sys
from collections.abc import Iterator
from typing import BinaryIO, cast

SIZE = 1000  # bytes of a value
BATCH = 500  # keys a command
POOL = 16 << 20  # bytes of which the values are cut: no two near each other are alike
STEP = 7_368_787  # prime, and far from all sizes that matter
WORDS = "the of and to in that is was he for it with as his on be at by had not are but from"
SEED = 4


def key(number: int) -> bytes:
    """As redis-benchmark names it."""
    return b"key:%012d" % number


class Values:
    """What each key holds; the same in every process that asks."""

    def __init__(self, kind: str) -> None:
        dice = random.Random(SEED)  # noqa: S311 -- known content, no secret
        if kind == "random":
            self._pool = dice.randbytes(POOL)
        else:
            words = [f"{word} ".encode() for word in WORDS.split()]
            self._pool = b"".join(dice.choices(words, k=POOL // 2))[:POOL]

    def of(self, number: int) -> bytes:
        """The value of one key."""
        at = number * STEP % (len(self._pool) - SIZE)
        return b"%012d" % number + self._pool[at : at + SIZE - 12]


def bulk(word: bytes) -> bytes:
    """A string as RESP sends it (https://redis.io/docs/reference/protocol-spec)."""
    return b"$%d\r\n%s\r\n" % (len(word), word)


def batches(keys: int) -> Iterator[range]:
    """The keys in groups of one command each."""
    for first in range(0, keys, BATCH):
        yield range(first, min(first + BATCH, keys))


def fill(channel: socket.socket, keys: int, values: Values) -> None:
    """Write all; raises ValueError when Redis complains."""
    for batch in batches(keys):
        parts = [b"*%d\r\n" % (2 * len(batch) + 1), bulk(b"MSET")]
        for number in batch:
            parts += [bulk(key(number)), bulk(values.of(number))]
        channel.sendall(b"".join(parts))
        told = channel.recv(4096)
        if told != b"+OK\r\n":
            raise ValueError(f"Redis answered {told[:200]!r}")


def check(channel: socket.socket, keys: int, values: Values) -> dict[str, int]:
    """Read all."""
    reader = cast(BinaryIO, channel.makefile("rb", 1 << 20))
    written = b""  # what redis-benchmark writes
    wrong = overwritten = 0
    for batch in batches(keys):
        parts = [b"*%d\r\n" % (len(batch) + 1), bulk(b"MGET")]
        channel.sendall(b"".join(parts + [bulk(key(number)) for number in batch]))
        reader.readline()
        for number in batch:
            value = one_value(reader.readline(), reader)
            if value == values.of(number):
                continue
            written = written or value
            right = value == written and len(value) == SIZE
            overwritten += right
            wrong += not right
    return {"wrong": wrong, "overwritten": overwritten}


def one_value(head: bytes, reader: BinaryIO) -> bytes:
    """The string behind its head; empty if there is none."""
    size = int(head[1:])
    if size < 0:
        return b""
    return reader.read(size + 2)[:-2]


def main() -> None:
    """Fill or check."""
    what, address, port, keys, kind = sys.argv[1:]
    channel = socket.create_connection((address, int(port)), 10)
    channel.settimeout(120)
    if what == "fill":
        fill(channel, int(keys), Values(kind))
    else:
        print(json.dumps(check(channel, int(keys), Values(kind))))


if __name__ == "__main__":
    main()
