"""Asks a server (`migrate/bench/workloads/traffic.py`) over one connection, for ever.

`talk.py ADDRESS PORT`. Each 50 answers it prints their number and the longest wait so far, in ms.
Whatever goes wrong ends it, with the error on stderr.
"""

import socket
import sys
import time


def main() -> None:
    """See above."""
    channel = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    channel.settimeout(60)
    lines = channel.makefile("rb")
    longest, number = 0.0, 0
    while True:
        begun = time.monotonic()
        channel.sendall(b"%d\n" % number)
        if int(lines.readline()) != number:
            raise ValueError("another answer than the one that was to come")
        number += 1
        longest = max(longest, time.monotonic() - begun)
        if number % 50 == 0:
            print(number, round(longest * 1000), flush=True)
        time.sleep(0.002)


main()
