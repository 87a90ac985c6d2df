"""Answers on a TCP and UDP port, IPv4 and IPv6: who asks, then what it is told, line by line."""

from __future__ import annotations

import socket
import sys
import threading


def converse(connection: socket.socket, peer: str) -> None:
    with connection, connection.makefile("rwb", buffering=0) as stream:
        stream.write(f"{peer}\n".encode())
        for line in stream:
            stream.write(line)


def answer_datagrams(server: socket.socket) -> None:
    while True:
        data, peer = server.recvfrom(2048)
        server.sendto(f"{peer[0]} {data.decode()}".encode(), peer)


def main(port: int) -> None:
    datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    datagrams.bind(("::", port))
    threading.Thread(target=answer_datagrams, args=(datagrams,), daemon=True).start()
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        print("ready", flush=True)
        while True:
            connection, peer = server.accept()
            threading.Thread(target=converse, args=(connection, peer[0]), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
