"""BTF: the kernel's own description of its types (Documentation/bpf/btf.rst)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

KERNEL = Path("/sys/kernel/btf/vmlinux")
KIND_STRUCT, KIND_UNION, KIND_FUNCTION = 4, 5, 12
_MAGIC = 0xEB9F
_HEADER = struct.Struct("=HBBIIIII")
_TYPE = struct.Struct("=III")  # a type: name, info, size or type; a member: name, type, offset
# By kind, what follows a type's head: bytes of all together, or bytes of each of its parts.
_FIXED = {1: 4, 2: 0, 3: 12, 7: 0, 8: 0, 9: 0, 10: 0, 11: 0, 12: 0, 14: 4, 16: 0, 17: 4, 18: 0}
_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
_QUALIFIERS = {8, 9, 10, 11, 18}


class Btf:
    """The types of one BTF file. Reading the kernel's takes 0.15 s."""

    def __init__(self, path: Path = KERNEL) -> None:
        """Raises OSError where there is none, ValueError for one that is not understood."""
        data = path.read_bytes()
        if len(data) < _HEADER.size:
            raise ValueError("no BTF")
        magic, _version, _flags, head, types, types_size, strings, strings_size = (
            _HEADER.unpack_from(data)
        )
        if magic != _MAGIC:
            raise ValueError("no BTF of this byte order")
        self._data = data
        self._strings = data[head + strings : head + strings + strings_size]
        self._places = list(_walk(data, head + types, head + types + types_size))

    def find(self, name: str, kind: int) -> int:
        """The number of a type; raises KeyError."""
        at = self._strings.find(b"\0%s\0" % name.encode()) + 1
        for number, place in enumerate(self._places, 1):
            told, info, _size = _TYPE.unpack_from(self._data, place)
            if at and told == at and _kind(info) == kind:
                return number
        raise KeyError(name)

    def offset(self, structure: str, member: str) -> int:
        """Bytes from the structure's beginning, through members without a name; KeyError."""
        place = self._places[self.find(structure, KIND_STRUCT) - 1]
        for name, bits in self._members(place, 0):
            if name == member and bits % 8 == 0:
                return bits // 8
        raise KeyError(f"{structure}.{member}")

    def _members(self, place: int, base: int) -> Iterator[tuple[str, int]]:
        """(name, offset in bits) of a structure's or union's members."""
        _name, info, _size = _TYPE.unpack_from(self._data, place)
        for nth in range(info & 0xFFFF):
            name, kind, offset = _TYPE.unpack_from(self._data, place + (nth + 1) * _TYPE.size)
            bits = base + (offset & 0xFFFFFF if info >> 31 else offset)
            if name:
                end = self._strings.index(b"\0", name)
                yield self._strings[name:end].decode(), bits
            elif (inner := self._aggregate(kind)) is not None:
                yield from self._members(inner, bits)

    def _aggregate(self, number: int) -> int | None:
        """Where the structure or union is that a type is, behind const and the like."""
        while number:
            place = self._places[number - 1]
            _name, info, number = _TYPE.unpack_from(self._data, place)
            if _kind(info) in {KIND_STRUCT, KIND_UNION}:
                return place
            if _kind(info) not in _QUALIFIERS:
                return None
        return None


def _kind(info: int) -> int:
    return info >> 24 & 0x1F


def _walk(data: bytes, at: int, end: int) -> Iterator[int]:
    """Where each type begins, in order: the first has the number 1."""
    while at < end:
        _name, info, _size = _TYPE.unpack_from(data, at)
        yield at
        kind = _kind(info)
        if kind in _EACH:
            at += _TYPE.size + (info & 0xFFFF) * _EACH[kind]
        elif kind in _FIXED:
            at += _TYPE.size + _FIXED[kind]
        else:
            raise ValueError(f"BTF has a type of the unknown kind {kind}")
