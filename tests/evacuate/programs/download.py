"""Downloads a file again and again over one connection, slowly, and checks each copy.

`download.py ADDRESS PORT PATH SHA256`. Commands on stdin: a line "mark" reports and begins anew;
the end of stdin lets the current copy come to its end, at full speed, reports and ends. Reports are
JSON lines: `gap` (seconds, the longest wait for data), `copies` (whole ones), `bytes`, `errors`.
"""

import hashlib
import json
import select
import socket
import sys
import time

PIECE, EVERY = 16384, 0.01  # bytes, and seconds between two pieces: 1.6 MB/s
WINDOW = 65536  # bytes that the kernel receives ahead: the rest waits at the server
PATIENCE = 60.0  # seconds


class Download:
    def __init__(self, address, port, path, digest):
        self.channel = socket.socket()
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        self.channel.settimeout(PATIENCE)
        self.channel.connect((address, port))
        self.request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
        self.digest, self.left, self.hash = digest, 0, hashlib.sha256()
        self.gap, self.copies, self.bytes, self.errors = 0.0, 0, 0, []

    def receive(self, size):
        begun = time.monotonic()
        data = self.channel.recv(size)
        self.gap = max(self.gap, time.monotonic() - begun)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        return data

    def begin(self):
        self.channel.sendall(self.request)
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.receive(1)
        lines = head.decode().lower().split("\r\n")
        if " 200 " not in lines[0]:
            raise ValueError(lines[0])
        sizes = [line.split(":")[1] for line in lines if line.startswith("content-length:")]
        self.left, self.hash = int(sizes[0]), hashlib.sha256()

    def piece(self):
        if not self.left:
            self.begin()
        data = self.receive(min(PIECE, self.left))
        self.hash.update(data)
        self.left -= len(data)
        self.bytes += len(data)
        if not self.left:
            self.copies += 1
            if self.hash.hexdigest() != self.digest:
                raise ValueError(f"copy {self.copies} has another checksum")

    def report(self):
        told = {"gap": self.gap, "copies": self.copies, "bytes": self.bytes}
        print(json.dumps({**told, "errors": self.errors}), flush=True)
        self.gap = 0.0


def attempt(download, step):
    try:
        step()
    except (OSError, ValueError, LookupError) as error:
        download.errors.append(f"{type(error).__name__}: {error}")


def main():
    download = Download(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
    print("connected", flush=True)
    while True:
        if select.select([sys.stdin], [], [], EVERY)[0]:
            if not sys.stdin.readline():
                break
            download.report()
        if not download.errors:
            attempt(download, download.piece)
    while download.left and not download.errors:
        attempt(download, download.piece)
    download.report()


main()
