"""What a program can do between two rounds, one thing at a time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from migrate.checkpoint.tracking import trust, wp_async
from migrate.kernel import processes
from migrate.kernel.maps import mappings
from migrate.runtime.errors import CgroupFailed
from tests.checkpoint.tracking.store import (
    PAGE,
    PROGRAMS,
    Steps,
    Store,
    check,
    frozen,
    pages_of,
    tree,
    until,
)
from tests.engine import eventually

pytestmark = pytest.mark.root

MAP = "a = m.mmap(64); m.fill(a, 64, rng)"


def reported(tracker, store, pid, address, pages):
    """Which pages of [address, +pages) the next round tells of, by index; the store takes all."""
    written = tracker.round()
    store.take(written)
    told = [pages_of(one.runs) for one in written if one.pid == pid]
    area = range(address, address + pages * PAGE, PAGE)
    return [index for index, page in enumerate(area) if any(page in told_ for told_ in told)]


def vouched(finals, pid, address, pages):
    """How many pages of an area are in regions, present and written at the end."""
    area = set(range(address, address + pages * PAGE, PAGE))
    one = next(one for one in finals if one.pid == pid)
    return tuple(len(area & pages_of(runs)) for runs in (one.regions, one.present, one.written))


def test_only_what_was_written_is_told_again(steps, tracker, store):
    steps.do(MAP)
    a = steps.tell("a")
    assert reported(tracker, store, steps.pid, a, 64) == list(range(64))
    assert reported(tracker, store, steps.pid, a, 64) == []
    steps.do("m.write(a, 3, b'x'); m.write(a, 40, b'y')")
    assert reported(tracker, store, steps.pid, a, 64) == [3, 40]
    steps.do("m.write(a, 5, b'z')")
    finals = check(tracker, steps.pid, store)
    assert vouched(finals, steps.pid, a, 64) == (64, 64, 1)
    assert tracker.untracked == {}


def test_pages_that_were_only_read_are_zero(steps, tracker, store):
    steps.do("a = m.mmap(64); [ctypes.string_at(a + i * m.PAGE, 1) for i in range(0, 64, 2)]")
    a = steps.tell("a")
    assert reported(tracker, store, steps.pid, a, 64) == []
    steps.do("m.write(a, 2, b'x')")
    assert reported(tracker, store, steps.pid, a, 64) == [2]
    assert vouched(check(tracker, steps.pid, store), steps.pid, a, 64) == (64, 1, 0)


def test_a_new_mapping(steps, tracker, store):
    tracker.round()
    steps.do(MAP)
    a = steps.tell("a")
    assert reported(tracker, store, steps.pid, a, 64) == list(range(64))
    steps.do("m.write(a, 9, b'x')")
    assert reported(tracker, store, steps.pid, a, 64) == [9]


def test_a_mapping_that_is_new_after_the_last_round_is_vouched_for_as_written(
    steps, tracker, store
):
    store.take(tracker.round())
    steps.do(MAP)
    finals = check(tracker, steps.pid, store)
    assert vouched(finals, steps.pid, steps.tell("a"), 64) == (64, 64, 64)


def test_an_unmapped_area_is_gone(steps, tracker, store):
    steps.do(MAP)
    a = steps.tell("a")
    store.take(tracker.round())
    steps.do("m.munmap(a, 64)")
    assert reported(tracker, store, steps.pid, a, 64) == []
    assert vouched(check(tracker, steps.pid, store), steps.pid, a, 64) == (0, 0, 0)


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_another_mapping_at_the_same_address(steps, tracker, store, rounds):
    steps.do(MAP)
    a = steps.tell("a")
    store.take(tracker.round())
    steps.do("m.munmap(a, 64); m.mmap(64, a, m.FIXED); m.fill(a, 20, rng)")
    for number in range(rounds):
        told = reported(tracker, store, steps.pid, a, 64)
        assert told == ([] if number else list(range(20)))
    assert vouched(check(tracker, steps.pid, store), steps.pid, a, 64)[:2] == (64, 20)


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_another_mapping_in_the_middle(steps, tracker, store, rounds):
    steps.do(MAP)
    a = steps.tell("a")
    store.take(tracker.round())
    steps.do("m.write(a, 3, b'x')", "m.mmap(8, a + 16 * m.PAGE, m.FIXED)",
             "m.write(a, 20, b'x'); m.write(a, 60, b'y')")  # fmt: skip
    for number in range(rounds):
        told = reported(tracker, store, steps.pid, a, 64)
        assert told == ([] if number else [3, 20, 60])
    assert vouched(check(tracker, steps.pid, store), steps.pid, a, 64)[:2] == (64, 57)


def test_a_moved_mapping(steps, tracker, store):
    """The kernel ends the registration; marks of protection may have come along (Linux < 6.13)."""
    steps.do(MAP)
    store.take(tracker.round())
    steps.do("t = m.mmap(64); b = m.mremap(a, 64, 64, m.MAYMOVE | m.MOVE_FIXED, t)")
    b = steps.tell("b")
    steps.do("m.write(b, 7, b'x')")
    assert reported(tracker, store, steps.pid, b, 64) == list(range(64))
    steps.do("m.write(b, 7, b'y'); m.write(b, 8, b'y')")
    assert reported(tracker, store, steps.pid, b, 64) == [7, 8]
    check(tracker, steps.pid, store)


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_mapping_that_grows_and_shrinks(steps, tracker, store, rounds):
    steps.do(MAP)
    store.take(tracker.round())
    steps.do("a = m.mremap(a, 64, 200); m.write(a, 150, b'x')")
    for _ in range(rounds):
        store.take(tracker.round())
    finals = check(tracker, steps.pid, store)
    assert vouched(finals, steps.pid, steps.tell("a"), 200)[:2] == (200, 65)
    steps.do("a = m.mremap(a, 200, 10); m.write(a, 5, b'y')")
    for _ in range(rounds):
        store.take(tracker.round())
    finals = check(tracker, steps.pid, store)
    assert vouched(finals, steps.pid, steps.tell("a"), 200)[0] == 10


def test_moved_content_leaves_an_empty_mapping(steps, tracker, store):
    steps.do(MAP)
    a = steps.tell("a")
    store.take(tracker.round())
    steps.do("b = m.mremap(a, 64, 64, m.MAYMOVE | m.DONTUNMAP); m.write(a, 1, b'x')")
    assert reported(tracker, store, steps.pid, a, 64) == [1]
    assert vouched(check(tracker, steps.pid, store), steps.pid, a, 64)[:2] == (64, 1)


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_growing_heap(steps, tracker, store, rounds):
    store.take(tracker.round())
    steps.do("h = m.libc.sbrk(8 * m.PAGE); ctypes.memset(h, 65, 8 * m.PAGE)")
    h = steps.tell("h")
    for _ in range(rounds):
        store.take(tracker.round())
    regions, present, _ = vouched(check(tracker, steps.pid, store), steps.pid, h & -PAGE, 8)
    assert (regions, present) == (8, 8)


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_pages_given_back_read_as_zero_until_they_are_written(steps, tracker, store, rounds):
    steps.do(MAP)
    a = steps.tell("a")
    store.take(tracker.round())
    steps.do("m.madvise(a, 32, m.DONTNEED); m.write(a, 4, b'x')", "ctypes.string_at(a + 9000, 1)")
    for number in range(rounds):
        assert reported(tracker, store, steps.pid, a, 64) == ([] if number else [4])
    assert vouched(check(tracker, steps.pid, store), steps.pid, a, 64)[:2] == (64, 33)


def test_a_region_that_is_not_writable_for_a_while(steps, tracker, store):
    steps.do(MAP)
    a = steps.tell("a")
    store.take(tracker.round())
    steps.do("m.write(a, 2, b'x'); m.mprotect(a, 64, 1)")
    assert reported(tracker, store, steps.pid, a, 64) == []
    assert vouched(check(tracker, steps.pid, store), steps.pid, a, 64) == (0, 0, 0)
    steps.do("m.mprotect(a, 64, 3); m.write(a, 3, b'y')")
    assert reported(tracker, store, steps.pid, a, 64) == [2, 3]
    check(tracker, steps.pid, store)


def test_a_child_counts_as_written_whole(steps, tracker, store):
    steps.do(MAP)
    a = steps.tell("a")
    store.take(tracker.round())
    steps.do("pid = os.fork() or (m.write(a, 1, b'child'), signal.pause())")
    child = steps.tell("pid")
    finals = check(tracker, steps.pid, store)
    assert [one.pid for one in finals] == [steps.pid]
    assert child in tracker.untracked
    assert reported(tracker, store, child, a, 64) == list(range(64))
    assert tracker.untracked == {}
    steps.do("m.write(a, 1, b'parent')")
    assert reported(tracker, store, steps.pid, a, 64) == [1]
    finals = check(tracker, steps.pid, store)
    assert {one.pid for one in finals} == {steps.pid, child}
    assert vouched(finals, child, a, 64) == (64, 64, 0)
    os.kill(child, signal.SIGKILL)
    steps.do("os.waitpid(pid, 0)")
    assert [one.pid for one in tracker.round()] == [steps.pid]
    assert tracker.untracked == {}


EXEC = "os.execv({0!r}, [{0!r}, {1!r}])"


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_a_program_that_executes_another(steps, tracker, store, rounds):
    steps.do(MAP)
    store.take(tracker.round())
    started = processes.start_time(steps.pid)
    steps.begin(EXEC.format(sys.executable, str(PROGRAMS / "steps.py")))
    steps._expect("ready")
    assert processes.start_time(steps.pid) == started
    for _ in range(rounds):
        store.take(tracker.round())
    with frozen(steps.pid):
        finals = tracker.final()
        if rounds:
            assert store.differences(finals) == []
            assert [one.pid for one in finals] == [steps.pid]
        else:
            assert finals == []
            assert "executed" in tracker.untracked[steps.pid]


def test_an_exec_while_a_vfork_child_keeps_the_old_memory_is_seen(steps, tracker):
    """Only the place of the program tells then: the descriptors show memory that is still there."""
    store = Store()
    store.take(tracker.round())
    tracker._tracked[steps.pid].identity = ("another", *tracker._tracked[steps.pid].identity[1:])
    with frozen(steps.pid):
        assert tracker.final() == []
    assert steps.pid in tracker.untracked


def test_a_pid_is_not_taken_for_an_earlier_one(steps, tracker, store):
    store.take(tracker.round())
    tracked = tracker._tracked[steps.pid]
    tracked.identity = (str(int(tracked.identity[0]) - 1), *tracked.identity[1:])
    written = tracker.round()
    assert len(pages_of(written[0].runs)) > 500  # entered anew
    assert tracker._tracked[steps.pid] is not tracked


CHANGES = {
    "replaced in the middle": "m.mmap(8, a + 16 * m.PAGE, m.FIXED); m.write(a, 17, b'n')",
    "replaced at the end": "m.mmap(8, a + 56 * m.PAGE, m.FIXED); m.write(a, 60, b'n')",
    "replaced whole": "m.munmap(a, 64); m.mmap(64, a, m.FIXED); m.fill(a, 64, rng)",
    "half unmapped": "m.munmap(a + 32 * m.PAGE, 32)",
    "end made shared": "m.mmap(8, a + 56 * m.PAGE, m.FIXED, m.SHARED); m.write(a, 60, b'n')",
    "end made droppable":  # MAP_DROPPABLE, Linux 6.11; userfaultfd refuses it
        "m.libc.mmap(a + 56 * m.PAGE, 8 * m.PAGE, 3, 0x38, -1, 0); m.write(a, 60, b'n')",
    "unmapped": "m.munmap(a, 64)",
    "moved": "t = m.mmap(64); b = m.mremap(a, 64, 64, m.MAYMOVE | m.MOVE_FIXED, t)",
    "moved and another there": "t = m.mmap(64); m.mremap(a, 64, 64, m.MAYMOVE | m.MOVE_FIXED, t);"
                               " m.mmap(64, a, m.FIXED); m.fill(a, 9, rng)",
    "given back": "m.madvise(a, 32, m.DONTNEED); m.write(a, 20, b'n')",
    "made huge": "h = m.mmap(1024, a & -(2 << 20), m.FIXED); m.madvise(h, 1024, m.HUGEPAGE); "
                 "m.fill(h, 1024, rng)",
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("first", [True, False], ids=["new", "registered"])
@pytest.mark.parametrize("look_number", [1, 2])
def test_a_mapping_that_changes_between_the_look_at_it_and_its_scan(
    steps, tracker, store, monkeypatch, change, first, look_number
):
    """A round looks before all is held to register what is new, and before it scans."""
    steps.do("o = m.mmap(4096); a = (o + (4 << 20)) & -(2 << 20)", "m.munmap(o, 4096)",
             "m.mmap(64, a, m.FIXED); m.fill(a, 64, rng)")  # fmt: skip
    if not first:
        store.take(tracker.round())
        steps.do("[m.write(a, n, b'w') for n in (3, 20, 58)]")
    look = wp_async.trust.without_locked
    looks = []

    def stale(pid, found):
        fitting = look(pid, found)
        looks.append(pid)
        if len(looks) == look_number:
            steps.do(CHANGES[change])
        return fitting

    with monkeypatch.context() as context:
        context.setattr(wp_async.trust, "without_locked", stale)
        store.take(tracker.round())
    assert len(looks) >= 2
    check(tracker, steps.pid, store)
    store.take(tracker.round())
    finals = check(tracker, steps.pid, store)
    assert len(finals) == 1
    assert not len(finals[0].written) or len(pages_of(finals[0].written)) < 64


def test_threads_that_write_all_the_time(steps, tracker, store):
    steps.do("a = m.mmap(256)")
    steps.do("go = lambda n: [m.write(a, (n * 64 + i) % 256, rng.randbytes(9)) "
             "for i in range(10 ** 9)]")  # fmt: skip
    steps.do("[threading.Thread(target=go, args=(n,), daemon=True).start() for n in range(3)]")
    for _ in range(20):
        for _ in range(2):
            store.take(tracker.round())
        check(tracker, steps.pid, store)


def test_memory_written_by_another_process(steps, tracker, store):
    steps.do(MAP, "prctl = m.libc.prctl(0x59616d61, -1, 0, 0, 0)")
    a = steps.tell("a")
    store.take(tracker.round())
    text = f"""
import ctypes
class V(ctypes.Structure): _fields_ = [("b", ctypes.c_void_p), ("l", ctypes.c_size_t)]
data = ctypes.create_string_buffer(b"written from elsewhere")
mine, its = V(ctypes.addressof(data), 22), V({a} + 5 * 4096, 22)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.process_vm_writev({steps.pid}, ctypes.byref(mine), 1, ctypes.byref(its), 1, 0) == 22
with open("/proc/{steps.pid}/mem", "r+b", 0) as memory:
    memory.seek({a} + 6 * 4096); memory.write(b"this, too")
"""
    subprocess.run([sys.executable, "-c", text], check=True)
    assert reported(tracker, store, steps.pid, a, 64) == [5, 6]
    check(tracker, steps.pid, store)


def test_data_that_the_kernel_writes_for_read(steps, tracker, store):
    steps.do(MAP)
    a = steps.tell("a")
    store.take(tracker.round())
    steps.do("f = os.open('/dev/urandom', 0); m.libc.read(f, ctypes.c_void_p(a + 3 * m.PAGE), 99)")
    assert reported(tracker, store, steps.pid, a, 64) == [3]


@pytest.mark.parametrize("advice", ["m.HUGEPAGE", "15"], ids=["huge", "small"])
def test_huge_pages(steps, tracker, store, advice):
    steps.do(f"h = m.mmap(2048); m.madvise(h, 2048, {advice})", "m.fill(h, 2048, rng)")
    h = steps.tell("h")
    store.take(tracker.round())
    steps.do("m.write(h, 700, b'x')")
    told = reported(tracker, store, steps.pid, h, 2048)
    assert 700 in told
    steps.do("m.madvise(h, 700, m.DONTNEED); m.write(h, 1500, b'x')")
    check(tracker, steps.pid, store)
    store.take(tracker.round())
    check(tracker, steps.pid, store)


@pytest.mark.parametrize("advice", [20, 21], ids=["cold", "pageout"])
def test_pages_that_the_kernel_moves_away(steps, tracker, store, advice):
    """MADV_PAGEOUT swaps where there is swap."""
    steps.do(MAP)
    a = steps.tell("a")
    store.take(tracker.round())
    steps.do(f"m.madvise(a, 64, {advice}); m.write(a, 3, b'x')")
    assert reported(tracker, store, steps.pid, a, 64) == [3]
    check(tracker, steps.pid, store)


def test_a_region_with_guard_pages_is_left_to_criu(steps, tracker, store):
    if steps.tell("m.libc.madvise(m.mmap(1), m.PAGE, m.GUARD)"):
        pytest.skip("this kernel has no guard pages")
    steps.do("m.mmap(1, kind=m.SHARED); a = m.mmap(4); m.fill(a, 4, rng)")
    steps.do("m.mprotect(a, 4, 7); m.madvise(a + m.PAGE, 1, m.GUARD)")
    a = steps.tell("a")
    assert reported(tracker, store, steps.pid, a, 4) == [0, 2, 3]
    finals = check(tracker, steps.pid, store)
    assert vouched(finals, steps.pid, a, 4) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["shared", "memfd", "locked", "stack", "zero", "wiped on fork"])
def test_what_is_left_to_criu(steps, tracker, store, kind):
    make = {
        "shared": "a = m.mmap(64, kind=m.SHARED)",
        "memfd": "f = os.memfd_create('x'); os.ftruncate(f, 64 * m.PAGE); "
                 "a = m.libc.mmap(None, 64 * m.PAGE, 3, 1, f, 0)",
        "locked": "a = m.mmap(64); assert m.libc.mlock(ctypes.c_void_p(a), 64 * m.PAGE) == 0",
        "wiped on fork": "a = m.mmap(64); "
                         "assert m.libc.madvise(ctypes.c_void_p(a), 64 * m.PAGE, 18) == 0",
        "stack": "a = int([l for l in open('/proc/self/maps') if '[stack]' in l][0].split('-')[0],"
                 " 16)",
        "zero": "f = os.open('/dev/zero', 2); a = m.libc.mmap(None, 64 * m.PAGE, 3, 2, f, 0)",
    }[kind]  # fmt: skip
    steps.do(make)
    if kind != "stack":
        steps.do("m.write(a, 3, b'x')")
    a = steps.tell("a")
    assert reported(tracker, store, steps.pid, a, 20) == []
    finals = check(tracker, steps.pid, store)
    assert vouched(finals, steps.pid, a, 20) == (0, 0, 0)


def test_changed_pages_of_a_private_file_mapping(steps, tracker, store, tmp_path):
    (tmp_path / "file").write_bytes(bytes(64 * PAGE))
    steps.do(
        f"f = os.open({str(tmp_path / 'file')!r}, 2)",
        "a = m.libc.mmap(None, 64 * m.PAGE, 3, 2, f, 0)",
        "m.write(a, 3, b'x'); ctypes.string_at(a + 9 * m.PAGE, 1)",
    )
    a = steps.tell("a")

    def eager(runs):
        return sorted((page - a) // PAGE for page in pages_of(runs) if a <= page < a + 64 * PAGE)

    assert [eager(one.eager) for one in _round(tracker, store)] == [[3]]
    assert [eager(one.eager) for one in _round(tracker, store)] == [[]]
    steps.do("m.write(a, 3, b'y'); m.write(a, 9, b'z')")
    (final,) = check(tracker, steps.pid, store)
    assert eager(final.eager) == [3, 9]
    assert eager(final.eager_written) == [3, 9]
    assert eager(final.present) == []


def test_mapped_files_can_be_left_to_criu(steps):
    """For a target that does not take their pages."""
    tracker = wp_async.track(steps.pids, steps.pid, steps.hold, eager=False)
    try:
        (told,) = tracker.round()
        assert len(told.runs)
        assert len(told.eager) == 0
        with frozen(steps.pid):
            (final,) = tracker.final()
        assert len(final.eager) == 0
        files = [m for m in mappings(steps.pid) if trust.is_private_file(m)]
        assert files
        assert not any(start <= m.start < end for m in files for start, end in final.regions)
    finally:
        tracker.close()


def _round(tracker, store):
    found = tracker.round()
    store.take(found)
    return found


def test_thread_stacks_are_tracked(steps, tracker, store):
    steps.do("e = threading.Event(); t = threading.Thread(target=e.wait, daemon=True); t.start()")
    syscall = Path(f"/proc/{steps.tell('t.native_id')}/syscall")
    # "running", without a stack pointer, until the thread waits for its event
    assert eventually(lambda: syscall.read_text() != "running\n")
    stack = int(syscall.read_text().split()[-2], 16) & -PAGE
    assert reported(tracker, store, steps.pid, stack, 1) == [0]
    assert vouched(check(tracker, steps.pid, store), steps.pid, stack, 1)[:2] == (1, 1)


def flags(pid):
    text = Path(f"/proc/{pid}/smaps").read_text()
    return [line for line in text.splitlines() if line.startswith("VmFlags")]


def test_after_the_end_a_process_is_as_before(steps, tracker, store):
    before = sorted(os.listdir(f"/proc/{steps.pid}/fd"))
    steps.do(MAP)
    store.take(tracker.round())
    assert any(" uw" in line for line in flags(steps.pid))
    assert sorted(os.listdir(f"/proc/{steps.pid}/fd")) == before
    tracker.close()
    tracker.close()
    assert not any(" uw" in line for line in flags(steps.pid))
    steps.do("m.write(a, 1, b'x')")
    again = wp_async.track(steps.pids, steps.pid, steps.hold)  # nobody has it registered
    written = again.round()
    assert set(range(64)) == {
        (page - steps.tell("a")) // PAGE for page in pages_of(written[0].runs)
    } & set(range(64))
    steps.end()
    again.close()


def test_an_interrupted_round_is_not_trusted(steps, tracker, store, monkeypatch):
    store.take(tracker.round())

    def interrupt(_pid):
        raise KeyboardInterrupt

    monkeypatch.setattr(wp_async.trust, "check_process", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tracker.round()
    assert tracker.final() == []
    assert steps.pid in tracker.untracked


def test_pid_namespaces():
    """Init of a pid namespace of its own: known by its number there; one level more is refused."""
    outer = subprocess.Popen(
        ["unshare", "-pf", "--kill-child", sys.executable, "-c",
         "import os, subprocess; p = subprocess.Popen(['sleep', '1000'])\n"
         "subprocess.run(['unshare', '-pf', '--kill-child', 'sleep', '1000'])"],
    )  # fmt: skip
    try:
        until(lambda: len(tree(outer.pid)) == 5)
        init = tree(outer.pid)[1]
        tracker = wp_async.track(lambda: tree(init), init, lambda: frozen(init))
        time.sleep(0.1)
        written = tracker.round()
        nested = [pid for pid, why in tracker.untracked.items() if "pid namespace" in why]
        assert len(nested) == 1
        numbers = {one.pid: one.inner_pid for one in written}
        assert numbers[init] == 1
        assert len(numbers) == 3
        assert all(
            processes.status_fields(pid)["NSpid"].split() == [str(pid), str(inner)]
            for pid, inner in numbers.items()
        )
        tracker.close()
    finally:
        outer.kill()
        outer.wait()


def test_the_memory_of_ten_programs(store):
    """Several at once under one tracker, one ending between rounds."""
    root = Steps()
    try:
        root.do(MAP, "kids = []")
        root.do("[kids.append(os.fork() or signal.pause()) for _ in range(10)]")
        tracker = wp_async.track(root.pids, root.pid, root.hold)
        store.take(tracker.round())
        os.kill(root.tell("kids[3]"), signal.SIGKILL)
        store.take(tracker.round())
        finals = check(tracker, root.pid, store)
        assert len(finals) == 10
        assert tracker.untracked == {}
        tracker.close()
    finally:
        root.end()


def test_the_end_does_not_wait_for_a_copy_of_the_descriptor(steps, tracker, store):
    """As a child has that was forked while its parent had just opened it."""
    steps.do(MAP)
    store.take(tracker.round())
    uffd = tracker._tracked[steps.pid]._descriptors.uffd
    steps.do(f"p = os.pidfd_open({os.getpid()})", f"u = m.libc.syscall(438, p, {uffd}, 0)")
    assert steps.tell("u") > 0
    assert tracker._are_copied()
    tracker.close()
    assert not any(" uw" in line for line in flags(steps.pid))


def test_a_mapping_that_grows_before_it_is_registered_stays_one(steps, store, monkeypatch):
    """Else mremap(2) of all of it would fail in the program, which knows of one."""
    held = []

    @contextlib.contextmanager
    def hold():
        held.append(True)
        yield
        held.clear()

    steps.do("o = m.mmap(4096); a = (o + (4 << 20)) & -(2 << 20)", "m.munmap(o, 4096)",
             "m.mmap(64, a, m.FIXED); m.fill(a, 64, rng)")  # fmt: skip
    look = wp_async.trust.without_locked
    sizes = [64, 80, 96]  # pages: it grows after each look, as long as it may run

    def stale(pid, found):
        fitting = look(pid, found)
        if len(sizes) > 1 and not held:
            old, new = sizes.pop(0), sizes[0]
            steps.do(f"assert m.mremap(a, {old}, {new}) == a; m.fill(a, {new}, rng)")
        return fitting

    tracker = wp_async.track(steps.pids, steps.pid, hold)
    with monkeypatch.context() as context:
        context.setattr(wp_async.trust, "without_locked", stale)
        store.take(tracker.round())
    assert sizes == [96]
    check(tracker, steps.pid, store)
    steps.do("assert m.mremap(a, 96, 112) == a")
    tracker.close()


def test_without_a_hold_nothing_is_registered_and_all_is_told(steps, store):
    def hold():
        raise CgroupFailed("it does not freeze")

    steps.do(MAP)
    tracker = wp_async.track(steps.pids, steps.pid, hold)
    for _ in range(2):
        assert reported(tracker, store, steps.pid, steps.tell("a"), 64) == list(range(64))
    finals = check(tracker, steps.pid, store)
    assert vouched(finals, steps.pid, steps.tell("a"), 64) == (64, 64, 64)
    tracker.close()
