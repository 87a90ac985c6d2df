"""The far end of a data connection: frames in, files beneath one directory out."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.errors import MigrateError
from migrate.kernel.blocks import enlarge_pipe, punch_hole, syncfs
from migrate.kernel.scheduling import run_at_once
from migrate.transfer.agent import describe_failure, take_stdio
from migrate.transfer.beneath import Beneath, checked_path, open_root
from migrate.transfer.errors import DataDamaged, PathRefused, ProtocolError
from migrate.transfer.frames import (
    ARRIVAL_FLAG,
    DATA_VERSION,
    HEADER_SIZE,
    MAX_PAYLOAD,
    MAX_SIZE,
    SYNC_FLAG,
    UNKNOWN_SIZE,
    XOR_FLAG,
    ZSTD_FLAG,
    Buffer,
    Header,
    Kind,
    arrivals,
    done_payload,
    error_frame,
    frame,
    parse_hole,
    parse_pages,
    parse_xor,
    unpack,
    verify,
    xor_digest,
)
from migrate.transfer.packs import unpacked

log = logging.getLogger(__name__)

MAX_OPEN_FILES = 256
ARRIVED = ".arrived"
"""Ending of the log beside a file of pages: which have come; uint64 pairs [start, end)."""
MAX_ASKED = 32 * 1024  # bytes of requests in one frame
_AHEAD = 64 * 1024
IDLE = 2.0  # seconds without a frame, after which the move may be over
_ZEROS = bytes(64 * 1024)
_TOKEN = re.compile(r"[0-9a-f]{32}")


def receive_stdio(base: Path, token: str) -> int:
    """What `migrate agent --data TOKEN` does: `receive` over stdio into `base`/`token`.

    Returns the exit status. The directory must have been made by `make_root`.
    """
    input_fd, output_fd = take_stdio()
    if not _TOKEN.fullmatch(token):
        _write(output_fd, error_frame(PathRefused("the token of a data connection is malformed")))
        return PathRefused.code
    return receive(input_fd, output_fd, base / token)


def make_root(base: Path, token: str) -> Path:
    """Make the directory that data connections with this token may write to, 0700, empty.

    Raises PathRefused for anything but 32 hexadecimal digits, FileExistsError.
    """
    if not _TOKEN.fullmatch(token):
        raise PathRefused("the token of a data connection is malformed")
    root = base / token
    root.mkdir(mode=0o700)
    return root


def receive(input_fd: int, output_fd: int, root: Path) -> int:
    """Take frames until the input ends and write files beneath `root`.

    An error is told to the sender in an ERROR frame. Returns the exit status: 0 or its code.
    """
    enlarge_pipe(input_fd)
    try:
        root_fd = open_root(root)
        try:
            receiver = _Receiver(_Input(input_fd, root), output_fd, root_fd)
            try:
                receiver.run()
            finally:
                receiver.close_files()
        finally:
            os.close(root_fd)
    except BrokenPipeError:
        return 1  # the sender is gone: nobody to tell
    except Exception as error:
        if not isinstance(error, MigrateError):
            log.exception("the data connection failed")
        told = describe_failure(error)
        with contextlib.suppress(OSError):
            _write(output_fd, error_frame(told))
        return told.code
    return 0


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class _Input:
    """Exact reads without copies: what comes too early with a readv(2) is kept for the next."""

    def __init__(self, descriptor: int, root: Path) -> None:
        self._descriptor, self._root = descriptor, root
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._ahead = memoryview(bytearray(_AHEAD))
        self._start = self._end = 0

    def fill(self, view: memoryview) -> int:
        """Read until the view is full or the input ends; returns how much is in it."""
        got = min(len(view), self._end - self._start)
        view[:got] = self._ahead[self._start : self._start + got]
        self._start += got
        while got < len(view):
            if not self._may_go_on():
                return got
            try:
                count = os.readv(self._descriptor, [view[got:], self._ahead])
            except ConnectionError:
                return got
            if count == 0:
                return got
            direct = min(count, len(view) - got)
            got += direct
            self._start, self._end = 0, count - direct
        return got

    def _may_go_on(self) -> bool:
        """Wait for something to read; False when the move has ended and its directory is gone.

        A sender that vanished while the link was down never ends this connection: the agent of the
        control connection learns of it, and clears the directory away.
        """
        while not self._poll.poll(IDLE * 1000):
            if not self._root.exists():
                return False
        return True


@dataclass(slots=True)
class _File:
    descriptor: int
    had_content: bool
    path: str
    arrivals: int = -1  # the descriptor of the log beside it, once it has one

    def close(self) -> None:
        os.close(self.descriptor)
        if self.arrivals >= 0:
            os.close(self.arrivals)


class _Answers:
    """Whole frames to the sender, from two threads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        with self._lock:
            _write(self._descriptor, data)


class _Receiver:
    def __init__(self, source: _Input, output_fd: int, root_fd: int) -> None:
        self._input = source
        self._output = _Answers(output_fd)
        self._root_fd = root_fd
        self._beneath = Beneath(root_fd)
        self._files: dict[int, _File] = {}
        self._opened = 0
        self._written = 0
        self._handlers: dict[Kind, Callable[[Header, memoryview], None]] = {
            Kind.OPEN: self._open,
            Kind.DATA: self._data,
            Kind.HOLE: self._hole,
            Kind.CLOSE: self._close,
            Kind.FLUSH: self._flush,
            Kind.PAGES: self._pages,
            Kind.WATCH: self._watch,
            Kind.PACK: self._pack,
        }
        self._decompressor: Any = None

    def run(self) -> None:
        """Handle frames until the input ends between two of them."""
        self._output.send(frame(Kind.READY, offset=DATA_VERSION))
        head = memoryview(bytearray(HEADER_SIZE))
        body = memoryview(bytearray(MAX_PAYLOAD))
        while got := self._input.fill(head):
            if got < HEADER_SIZE:
                raise DataDamaged("the data connection ended within a frame")
            header = unpack(head)
            payload = body[: header.length]
            if self._input.fill(payload) < header.length:
                raise DataDamaged("the data connection ended within a frame")
            verify(head, payload)
            handler = self._handlers.get(header.kind)
            if handler is None:
                raise ProtocolError(f"a sender does not send {header.kind.name} frames")
            handler(header, payload)

    def close_files(self) -> None:
        """Close what is still open."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _open(self, header: Header, payload: memoryview) -> None:
        if header.file in self._files or len(self._files) >= MAX_OPEN_FILES:
            raise ProtocolError(f"file {header.file} is open already, or too many files are")
        path = checked_path(bytes(payload))
        if header.offset != UNKNOWN_SIZE:
            _check_range(header.offset, 0)
        descriptor = self._beneath.open_file(path, 0o600 | header.mode & 0o100)
        status = os.fstat(descriptor)
        self._files[header.file] = _File(descriptor, status.st_size > 0, path)
        # No O_TRUNC: another connection may already have written its part of the same file.
        if header.offset not in (UNKNOWN_SIZE, status.st_size):
            os.ftruncate(descriptor, header.offset)
        self._opened += 1

    def _data(self, header: Header, payload: memoryview) -> None:
        file = self._file(header)
        _check_range(header.offset, header.length)
        _write_at(file.descriptor, payload, header.offset)
        self._written += header.length

    def _pack(self, _header: Header, payload: memoryview) -> None:
        for path, mode, content in unpacked(payload):
            descriptor = self._beneath.open_file(checked_path(path), 0o600 | mode & 0o100)
            try:
                os.ftruncate(descriptor, len(content))
                _write_at(descriptor, content, 0)
            finally:
                os.close(descriptor)
            self._opened += 1
            self._written += len(content)

    def _hole(self, header: Header, payload: memoryview) -> None:
        file = self._file(header)
        length = parse_hole(payload)
        _check_range(header.offset, length)
        if not file.had_content or length == 0:
            return
        try:
            punch_hole(file.descriptor, header.offset, length)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            _overwrite_with_zeros(file.descriptor, header.offset, length)

    def _pages(self, header: Header, payload: memoryview) -> None:
        file = self._file(header)
        pages = parse_pages(payload)
        content, digest = memoryview(pages.content), b""
        size = sum(length for _, length in pages.data)
        if header.flags & XOR_FLAG:
            if header.flags & ARRIVAL_FLAG:
                raise ProtocolError("a PAGES frame can't be of what arrived and differs")
            digest, rest = parse_xor(content)
            content = memoryview(rest)
        if header.flags & ZSTD_FLAG:
            content = memoryview(self._decompressed(content, size))
        if len(content) != size:
            raise ProtocolError(f"a PAGES frame holds {len(content)} bytes instead of {size}")
        if digest:
            content = _changed(file.descriptor, pages.data, content, digest)
        for offset, length in pages.data:
            _write_at(file.descriptor, content[:length], offset)
            content = content[length:]
        for offset, length in pages.zeros:
            punch_hole(file.descriptor, offset, length)
        self._written += size
        if header.flags & ARRIVAL_FLAG:
            self._log_arrival(file, arrivals(pages))

    def _log_arrival(self, file: _File, runs: bytes) -> None:
        """What is written is told by what follows it: whoever reads the log finds whole pages."""
        if file.arrivals < 0:
            file.arrivals = self._beneath.open_file(file.path + ARRIVED, 0o600, os.O_APPEND)
        if os.write(file.arrivals, runs) != len(runs):
            raise OSError(errno.ENOSPC, f"the log of {file.path!r} can't be written")

    def _watch(self, _header: Header, payload: memoryview) -> None:
        """Relay what is written into a FIFO to the sender, until the process ends.

        Somebody waits for each page that comes over this connection.
        """
        run_at_once()
        _hurry_parent()
        descriptor = self._beneath.open_fifo(checked_path(bytes(payload)))
        threading.Thread(
            target=self._relay, args=(descriptor,), name="requests", daemon=True
        ).start()

    def _relay(self, descriptor: int) -> None:
        run_at_once()
        with contextlib.suppress(OSError):
            while asked := os.read(descriptor, MAX_ASKED):
                self._output.send(frame(Kind.ASKED, asked))

    def _decompressed(self, content: Buffer, size: int) -> bytes:
        """Bounded by `size`, whatever the content's own head says; raises DataDamaged."""
        import zstandard

        if self._decompressor is None:
            self._decompressor = zstandard.ZstdDecompressor()
        try:
            told = zstandard.get_frame_parameters(content).content_size
            if told != size:
                raise DataDamaged(f"a PAGES frame of {size} bytes unpacks to {told}")
            unpacked: bytes = self._decompressor.decompress(content, max_output_size=size)
        except zstandard.ZstdError as error:
            raise DataDamaged("a PAGES frame can't be unpacked", cause=str(error)) from error
        return unpacked

    def _close(self, header: Header, _payload: memoryview) -> None:
        file = self._file(header)
        if header.offset != UNKNOWN_SIZE:
            _check_range(header.offset, 0)
            os.ftruncate(file.descriptor, header.offset)
        self._files.pop(header.file).close()

    def _flush(self, header: Header, _payload: memoryview) -> None:
        if header.flags & SYNC_FLAG:
            syncfs(self._root_fd)
        payload = done_payload(self._opened, self._written)
        self._output.send(frame(Kind.DONE, payload, offset=header.offset))

    def _file(self, header: Header) -> _File:
        file = self._files.get(header.file)
        if file is None:
            raise ProtocolError(f"file {header.file} is not open on this connection")
        return file


def _hurry_parent() -> None:
    """The sshd of this connection alone, through which all has to go that is waited for."""
    parent = os.getppid()
    with contextlib.suppress(OSError):
        if Path(f"/proc/{parent}/comm").read_text().startswith("sshd"):
            run_at_once(parent)


def _write_at(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        count = os.pwrite(descriptor, data, offset)
        offset, data = offset + count, data[count:]


def _changed(
    descriptor: int, runs: list[tuple[int, int]], difference: memoryview, digest: bytes
) -> memoryview:
    """What the runs hold now, XORed with the difference; raises DataDamaged if it is not as told.

    By Python's own integers, 0.7 GB/s: to import numpy would take as long as 30 MiB of pages.
    """
    held = b"".join(os.pread(descriptor, length, offset).ljust(length, b"\0")
                    for offset, length in runs)  # fmt: skip
    number = int.from_bytes(held, "little") ^ int.from_bytes(difference, "little")
    content = number.to_bytes(len(held), "little")
    if xor_digest(content) != digest:
        raise DataDamaged("a PAGES frame changes other pages than the ones that are here")
    return memoryview(content)


def _check_range(offset: int, length: int) -> None:
    if offset + length > MAX_SIZE:
        raise ProtocolError(f"no file has a byte {offset + length}")


def _overwrite_with_zeros(descriptor: int, offset: int, length: int) -> None:
    end = min(offset + length, os.fstat(descriptor).st_size)
    while offset < end:
        offset += os.pwrite(descriptor, _ZEROS[: end - offset], offset)
