"""Programs that CRIU can't dump, or that can't come back; `victims.py KIND DIRECTORY`.

A kind makes its state, and returns what must stay alive; then the program says "ready", closes its
standard output, and sleeps. Standard library of Python 3.11 only, and libc.
"""

import ctypes
import fcntl
import mmap
import os
import select
import socket
import struct
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
PERF_EVENT_OPEN, BPF, USERFAULTFD, IO_URING_SETUP, PIDFD_OPEN = 298, 321, 323, 425, 434  # x86-64


def checked(value):
    if value == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value


def sleep_on():
    """Say "ready", and have nothing open that another process has."""
    os.write(1, b"ready\n")
    os.close(1)
    while True:
        time.sleep(1)


def plain(directory):
    return None


def io_uring(directory):
    return checked(libc.syscall(IO_URING_SETUP, 4, ctypes.create_string_buffer(120)))


def userfaultfd(directory):
    return checked(libc.syscall(USERFAULTFD, 1))  # UFFD_USER_MODE_ONLY


def perf_event(directory):
    """PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK, of this process."""
    attributes = ctypes.create_string_buffer(struct.pack("IIQ", 1, 64, 0), 64)
    return checked(libc.syscall(PERF_EVENT_OPEN, attributes, 0, -1, -1, 0))


def bpf_map(directory):
    """BPF_MAP_CREATE of an array with one value of eight bytes."""
    attributes = ctypes.create_string_buffer(struct.pack("IIII", 2, 4, 8, 1), 64)
    return checked(libc.syscall(BPF, 0, attributes, 64))


def block_device(directory):
    """A device that is made here; loop devices are there without one behind them."""
    path = f"{directory}/loop"
    os.mknod(path, 0o600 | 0o060000, os.makedev(7, 0))
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def packet_pipe(directory):
    return os.pipe2(os.O_DIRECT)


def pidfd_of_init(directory):
    return checked(libc.syscall(PIDFD_OPEN, 1, 0))


def deleted_large(directory):
    """Two MiB; CRIU's own limit is one."""
    file = open(f"{directory}/large", "wb")
    file.write(b"x" * (2 << 20))
    file.flush()
    os.unlink(f"{directory}/large")
    return file


def deleted_but_linked(directory):
    file = open(f"{directory}/one", "wb")
    os.link(f"{directory}/one", f"{directory}/two")
    os.unlink(f"{directory}/one")
    return file


def mounted_over(directory):
    """Another mount hides the directory of the file."""
    os.mkdir(f"{directory}/below")
    file = open(f"{directory}/below/hidden", "wb")
    mount_tmpfs(f"{directory}/below")
    open(f"{directory}/below/hidden", "wb").close()
    return file


def overmounted(directory):
    """Another mount hides the mount of the file."""
    os.mkdir(f"{directory}/mount")
    mount_tmpfs(f"{directory}/mount")
    file = open(f"{directory}/mount/hidden", "wb")
    mount_tmpfs(f"{directory}/mount")
    return file


def mount_tmpfs(path):
    checked(libc.mount(b"tmpfs", path.encode(), b"tmpfs", 0, None))


def lock(directory):
    file = open(f"{directory}/locked", "wb")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def watch_deleted(directory):
    """An inotify watch of a deleted file that is open."""
    path = "/run/watched"  # a tmpfs of the stage's
    file = open(path, "wb")
    notify = checked(libc.inotify_init())
    checked(libc.inotify_add_watch(notify, path.encode(), 2))
    os.unlink(path)
    return file, notify


def socket_family(directory):
    return socket.socket(socket.AF_VSOCK)


def mptcp(directory):
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)


def message_queue(directory):
    """mq_open(3) opens on a mount that no mount namespace shows."""
    libc = ctypes.CDLL(None, use_errno=True)
    return checked(libc.mq_open(b"/victim", os.O_RDWR | os.O_CREAT, 0o600, None))


def counting_semaphore(directory):
    return os.eventfd(3, os.EFD_SEMAPHORE)


def large_count(directory):
    counter = os.eventfd(0)
    os.eventfd_write(counter, 1 << 32)
    return counter


def unix_outside(directory):
    """Connected to the socket that the stage has made."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(f"{directory}/outside")
    return connection


def netlink_unread(directory):
    """RTM_GETLINK is asked, and the answer not read."""
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    link.bind((0, 0))
    link.send(struct.pack("IHHII", 32, 18, 0x301, 1, 0) + bytes(16))
    select.select([link], [], [], 5)
    return link


def credentials_in_queue(directory):
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    sender.send(b"who am I")
    return receiver, sender


def corked(directory):
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.IPPROTO_UDP, 1, 1)  # UDP_CORK
    sender.connect(("127.0.0.1", 9))
    sender.send(b"held back")
    return sender


def connected(directory):
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    return listener, client, listener.accept()


def listening(directory):
    return socket.create_server(("127.0.0.1", 7011))


def bound(directory):
    return socket.create_server(("127.0.0.77", 7012))


def terminals(directory):
    """Slaves whose masters are the stage's."""
    paths = sorted(p for p in os.listdir(directory) if p.startswith("terminal"))
    return [os.open(os.readlink(f"{directory}/{p}"), os.O_RDWR | os.O_NOCTTY) for p in paths]


def nested_of(flag, of_children=False):
    """A child with a namespace of its own; of some kinds only its children are in the new one."""

    def make(directory):
        if os.fork() == 0:
            checked(libc.unshare(flag))
            if of_children and os.fork():
                os.close(1)
                os.wait()
            sleep_on()
        os.close(1)
        while True:
            time.sleep(1)

    return make


nested_ipc = nested_of(0x08000000)
nested_uts = nested_of(0x04000000)
nested_user = nested_of(0x10000000)
nested_cgroup = nested_of(0x02000000)
nested_pid = nested_of(0x20000000, of_children=True)
nested_time = nested_of(0x00000080, of_children=True)


def system_v(directory):
    """A shared memory segment that is attached; the namespace goes with the stage."""
    libc.shmat.restype = ctypes.c_void_p
    libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    return libc.shmat(checked(libc.shmget(0, 4096, 0o1600)), None, 0)


def state_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def main_thread_gone(directory):
    if os.fork():
        os.close(1)
        while True:
            time.sleep(1)

    def sleeper():
        while state_of(os.getpid()) != "Z":  # until the other is gone
            time.sleep(0.01)
        sleep_on()

    threading.Thread(target=sleeper).start()
    libc.pthread_exit(None)


def open_file(directory):
    file = open(f"{directory}/kept", "r+b")
    return file, mmap.mmap(file.fileno(), 4096)


def main(kind, directory):
    alive = globals()[kind](directory)
    sleep_on()
    del alive


if __name__ == "__main__":
    main(*sys.argv[1:])
