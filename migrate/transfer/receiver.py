"""The far end of a data connection: frames in, files beneath one directory out."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.errors import MigrateError
from migrate.kernel.blocks import enlarge_pipe, punch_hole, syncfs
from migrate.kernel.files import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from migrate.transfer.agent import describe_failure, take_stdio
from migrate.transfer.errors import DataDamaged, PathRefused, ProtocolError
from migrate.transfer.frames import (
    DATA_VERSION,
    HEADER_SIZE,
    MAX_PATH,
    MAX_PAYLOAD,
    MAX_SIZE,
    SYNC_FLAG,
    UNKNOWN_SIZE,
    ZSTD_FLAG,
    Buffer,
    Header,
    Kind,
    done_payload,
    error_frame,
    frame,
    parse_hole,
    parse_pages,
    unpack,
    verify,
)

log = logging.getLogger(__name__)

MAX_OPEN_FILES = 256
MAX_KNOWN_PARENTS = 100_000
MAX_DEPTH = 256  # what a recursive removal in Python still gets through
_AHEAD = 64 * 1024
_ZEROS = bytes(64 * 1024)
_TOKEN = re.compile(r"[0-9a-f]{32}")
_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS


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
        root_fd = _open_root(root)
        try:
            receiver = _Receiver(input_fd, output_fd, root_fd)
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


def _open_root(root: Path) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(root, flags)
    except OSError as error:
        raise PathRefused("the directory of a data connection is refused", cause=str(error)) from (
            error
        )
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        os.close(descriptor)
        raise PathRefused(
            "the directory of a data connection is refused", cause="others may write or read it"
        )
    return descriptor


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class _Input:
    """Exact reads without copies: what comes too early with a readv(2) is kept for the next."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ahead = memoryview(bytearray(_AHEAD))
        self._start = self._end = 0

    def fill(self, view: memoryview) -> int:
        """Read until the view is full or the input ends; returns how much is in it."""
        got = min(len(view), self._end - self._start)
        view[:got] = self._ahead[self._start : self._start + got]
        self._start += got
        while got < len(view):
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


@dataclass(frozen=True, slots=True)
class _File:
    descriptor: int
    had_content: bool


class _Receiver:
    def __init__(self, input_fd: int, output_fd: int, root_fd: int) -> None:
        self._input = _Input(input_fd)
        self._output_fd = output_fd
        self._root_fd = root_fd
        self._files: dict[int, _File] = {}
        self._known_parents = {""}
        self._opened = 0
        self._written = 0
        self._handlers: dict[Kind, Callable[[Header, memoryview], None]] = {
            Kind.OPEN: self._open,
            Kind.DATA: self._data,
            Kind.HOLE: self._hole,
            Kind.CLOSE: self._close,
            Kind.FLUSH: self._flush,
            Kind.PAGES: self._pages,
        }
        self._decompressor: Any = None

    def run(self) -> None:
        """Handle frames until the input ends between two of them."""
        _write(self._output_fd, frame(Kind.READY, offset=DATA_VERSION))
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
            os.close(file.descriptor)
        self._files.clear()

    def _open(self, header: Header, payload: memoryview) -> None:
        if header.file in self._files or len(self._files) >= MAX_OPEN_FILES:
            raise ProtocolError(f"file {header.file} is open already, or too many files are")
        path = _checked_path(bytes(payload))
        if header.offset != UNKNOWN_SIZE:
            _check_range(header.offset, 0)
        descriptor = self._open_beneath(path, 0o600 | header.mode & 0o100)
        status = os.fstat(descriptor)
        self._files[header.file] = _File(descriptor, status.st_size > 0)
        if not stat.S_ISREG(status.st_mode):
            raise PathRefused(f"{path!r} exists and is no regular file")
        # No O_TRUNC: another connection may already have written its part of the same file.
        if header.offset not in (UNKNOWN_SIZE, status.st_size):
            os.ftruncate(descriptor, header.offset)
        self._opened += 1

    def _open_beneath(self, path: str, mode: int) -> int:
        parent = path.rpartition("/")[0]
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            self._make_parents(parent)
            return openat2(self._root_fd, path, flags, mode=mode, resolve=_BENEATH)
        except OSError as error:
            if error.errno in (errno.EXDEV, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO):
                raise PathRefused(f"{path!r} is refused", cause=str(error)) from error
            raise

    def _make_parents(self, parent: str) -> None:
        missing = []
        while parent not in self._known_parents:
            missing.append(parent)
            parent = parent.rpartition("/")[0]
        for directory in reversed(missing):
            above, _, name = directory.rpartition("/")
            flags = os.O_PATH | os.O_DIRECTORY
            above_fd = openat2(self._root_fd, above or ".", flags, resolve=_BENEATH)
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=above_fd)
            finally:
                os.close(above_fd)
            if len(self._known_parents) < MAX_KNOWN_PARENTS:
                self._known_parents.add(directory)

    def _data(self, header: Header, payload: memoryview) -> None:
        file = self._file(header)
        _check_range(header.offset, header.length)
        _write_at(file.descriptor, payload, header.offset)
        self._written += header.length

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
        content = memoryview(pages.content)
        size = sum(length for _, length in pages.data)
        if header.flags & ZSTD_FLAG:
            content = memoryview(self._decompressed(pages.content, size))
        if len(content) != size:
            raise ProtocolError(f"a PAGES frame holds {len(content)} bytes instead of {size}")
        for offset, length in pages.data:
            _write_at(file.descriptor, content[:length], offset)
            content = content[length:]
        for offset, length in pages.zeros:
            punch_hole(file.descriptor, offset, length)
        self._written += size

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
        os.close(self._files.pop(header.file).descriptor)

    def _flush(self, header: Header, _payload: memoryview) -> None:
        if header.flags & SYNC_FLAG:
            syncfs(self._root_fd)
        payload = done_payload(self._opened, self._written)
        _write(self._output_fd, frame(Kind.DONE, payload, offset=header.offset))

    def _file(self, header: Header) -> _File:
        file = self._files.get(header.file)
        if file is None:
            raise ProtocolError(f"file {header.file} is not open on this connection")
        return file


def _write_at(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        count = os.pwrite(descriptor, data, offset)
        offset, data = offset + count, data[count:]


def _check_range(offset: int, length: int) -> None:
    if offset + length > MAX_SIZE:
        raise ProtocolError(f"no file has a byte {offset + length}")


def _overwrite_with_zeros(descriptor: int, offset: int, length: int) -> None:
    end = min(offset + length, os.fstat(descriptor).st_size)
    while offset < end:
        offset += os.pwrite(descriptor, _ZEROS[: end - offset], offset)


def _checked_path(raw: bytes) -> str:
    """The path, refused before the kernel is asked if it could never be right."""
    parts = raw.split(b"/")
    if not raw or len(raw) > MAX_PATH or b"\0" in raw or not all(parts):
        raise PathRefused(f"{raw[:200]!r} is no relative path")
    if b"." in parts or b".." in parts:
        raise PathRefused(f"{raw[:200]!r} leads out of the directory")
    if len(parts) > MAX_DEPTH:
        raise PathRefused(f"a path has {len(parts)} levels, more than {MAX_DEPTH}")
    return os.fsdecode(raw)
