import gc
import os
import subprocess
import sys

from migrate.kernel.reserve import DESCRIPTORS, Reserve


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_held_is_given_up_once() -> None:
    gc.collect()  # what earlier tests have left open
    before = descriptors()
    reserve = Reserve()
    assert descriptors() == before + DESCRIPTORS
    reserve.give_up()
    reserve.give_up()
    assert descriptors() == before


WITHOUT = """
import os, resource
from migrate.kernel.reserve import Reserve
reserve = Reserve()
highest = max(map(int, os.listdir("/proc/self/fd"))) + 1
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))
resource.setrlimit(resource.RLIMIT_AS, (size, size))
found = []
def attempt():
    try:
        os.close(os.open("/dev/null", os.O_RDONLY))
        found.append(1)
    except OSError:
        found.append(0)
    try:
        bytearray(16 << 20)
        found.append(1)
    except MemoryError:
        found.append(0)
held = []
try:
    while True: held.append(os.open("/dev/null", os.O_RDONLY))
except OSError: pass
attempt()
reserve.give_up()
attempt()
print(*found)
"""


def test_it_is_there_when_the_limits_are_reached() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "0 0 1 1\n", done.stderr


def test_what_can_not_be_had_is_not_held() -> None:
    code = (
        "import resource, os; from migrate.kernel.reserve import Reserve;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8)); Reserve().give_up()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
