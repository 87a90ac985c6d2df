"""The flags of mappings by BPF, against smaps; what a kernel without it says."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from migrate.kernel import btf, vmaflags
from migrate.kernel.btf import KIND_FUNCTION, KIND_STRUCT, Btf
from migrate.kernel.maps import mappings
from migrate.kernel.vmaflags import VmaFlags

PAGE = mmap.PAGESIZE
VM_DONTCOPY, VM_DONTDUMP, VM_WRITE = 0x2_0000, 0x400_0000, 0x2  # include/linux/mm.h


@pytest.mark.root
def test_all_mappings_are_told_with_their_flags() -> None:
    flags = VmaFlags()
    memory = mmap.mmap(-1, 8 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    memory.madvise(mmap.MADV_DONTFORK, 2 * PAGE, 3 * PAGE)
    for _attempt in range(50):  # this process's own work may make new mappings between
        before = Path("/proc/self/maps").read_bytes()
        told = {start: (end, value) for start, end, value in flags.read(os.getpid())}
        expected = {m.start: m.end for m in mappings(os.getpid()) if m.name != "[vsyscall]"}
        ends = {start: end for start, (end, _) in told.items()}
        if Path("/proc/self/maps").read_bytes() == before and ends == expected:
            break
    assert ends == expected
    end, value = told[address + 2 * PAGE]
    assert end == address + 5 * PAGE
    assert value & VM_DONTCOPY
    assert value & VM_WRITE
    memory.madvise(mmap.MADV_DOFORK, 2 * PAGE, 3 * PAGE)
    memory.madvise(mmap.MADV_DONTDUMP, 2 * PAGE, 3 * PAGE)
    now = {start: value for start, _, value in flags.read(os.getpid())}[address + 2 * PAGE]
    assert now & (VM_DONTCOPY | VM_DONTDUMP) == VM_DONTDUMP
    flags.close()


@pytest.mark.root
def test_more_mappings_than_one_read_holds() -> None:
    memory = mmap.mmap(-1, 6000 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for number in range(0, 6000, 2):
        memory.madvise(mmap.MADV_DONTFORK, number * PAGE, PAGE)
    flags = VmaFlags()
    with pytest.raises(OSError, match="too many mappings"):
        flags.read(os.getpid())
    memory.close()
    assert 10 < len(flags.read(os.getpid())) < 3000
    flags.close()


@pytest.mark.root
def test_another_process_and_one_that_is_gone() -> None:
    flags = VmaFlags()
    program = [sys.executable, "-c", "print('there', flush=True); input()"]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == b"there\n"
        assert len(flags.read(other.pid)) > 5
        assert other.stdin
        other.stdin.close()
        other.wait()
        assert flags.read(other.pid) == []
    flags.close()


def test_types_of_the_kernel() -> None:
    types = Btf()
    assert types.find("vm_area_struct", KIND_STRUCT)
    assert types.offset("vm_area_struct", "vm_start") == 0
    assert types.offset("vm_area_struct", "vm_end") == 8
    # Behind a pointer and a number, or behind what more there is: in a union without a name.
    assert types.offset("vm_area_struct", "vm_flags") >= 24
    with pytest.raises(KeyError):
        types.find("vm_area_struct", KIND_FUNCTION)
    with pytest.raises(KeyError):
        types.find("no such thing", KIND_STRUCT)
    with pytest.raises(KeyError):
        types.offset("vm_area_struct", "no such thing")


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\x9f\xeb" + b"\1" * 10])
def test_what_is_no_btf(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    (tmp_path / "btf").write_bytes(content)
    with pytest.raises(ValueError, match="BTF"):
        Btf(tmp_path / "btf")
    monkeypatch.setattr(vmaflags, "Btf", lambda: Btf(tmp_path / "btf"))
    with pytest.raises(OSError, match="BTF"):
        VmaFlags()


def test_an_unknown_kind_of_type(tmp_path: Path) -> None:
    head = btf._HEADER.pack(0xEB9F, 1, 0, btf._HEADER.size, 0, 12, 12, 1)
    (tmp_path / "btf").write_bytes(head + btf._TYPE.pack(0, 30 << 24, 0) + b"\0")
    with pytest.raises(ValueError, match="unknown kind 30"):
        Btf(tmp_path / "btf")


@pytest.mark.root
def test_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "from migrate.kernel.vmaflags import VmaFlags\nimport os\nos.setuid(65534)\n"
        "try: VmaFlags()\nexcept OSError as error: print(error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout == "1\n"
