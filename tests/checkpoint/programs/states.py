"""Kinds of kernel state that a checkpoint must keep; each makes its own and checks it afterwards.

`states.py KIND...` runs each kind in a child; on SIGUSR1 each checks itself: "KIND intact".
A kind is a generator: up to its `yield` it makes state, behind it asserts that all is as it was.
Standard library of Python 3.11 only, and libc.
"""

import contextlib
import ctypes
import fcntl
import mmap
import os
import pty
import select
import signal
import socket
import stat
import struct
import sys
import tempfile
import termios
import threading
import time
import traceback

libc = ctypes.CDLL(None, use_errno=True)


def checked(value, what):
    if value == -1:
        raise OSError(ctypes.get_errno(), what)
    return value


def say(line):
    """One write, so that the lines of several processes do not mix."""
    os.write(1, f"{line}\n".encode())


def child(work):
    """Fork; the child ends with what `work` returns."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        status = 99
        try:
            status = work() or 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def until(condition):
    """Wait for it, on however busy a machine."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sleep_for_ever():
    while True:
        time.sleep(0.02)


# -- files


def deleted_small():
    file = open("/tmp/small", "w+b")
    file.write(b"x" * 5000)
    file.flush()
    os.unlink("/tmp/small")
    file.seek(1234)
    yield
    assert file.tell() == 1234
    assert file.read() == b"x" * (5000 - 1234)
    assert os.fstat(file.fileno()).st_nlink == 0
    assert not os.path.exists("/tmp/small")


def deleted_large():
    data = os.urandom(3 << 20)
    file = open("/tmp/large", "w+b")
    file.write(data)
    file.flush()
    os.unlink("/tmp/large")
    yield
    file.seek(0)
    assert file.read() == data


def deleted_but_linked():
    """One name is gone, another is left."""
    file = open("/tmp/first", "w+b")
    file.write(b"data")
    file.flush()
    os.link("/tmp/first", "/tmp/second")
    os.unlink("/tmp/first")
    yield
    file.seek(0)
    assert file.read() == b"data"
    assert os.path.samestat(os.fstat(file.fileno()), os.stat("/tmp/second"))


def mapped_files():
    with open("/tmp/mapped", "wb") as file:
        file.write(b"a" * 8192)
    file = open("/tmp/mapped", "r+b")
    shared = mmap.mmap(file.fileno(), 8192)
    private = mmap.mmap(file.fileno(), 8192, mmap.MAP_PRIVATE)
    shared[0:3] = b"new"
    private[4096:4099] = b"own"
    yield
    assert shared[0:4] == b"newa"
    assert private[4096:4100] == b"owna"
    shared[5000:5003] = b"mod"
    assert open("/tmp/mapped", "rb").read()[5000:5003] == b"mod"


def memory_file():
    fd = os.memfd_create("mem")
    os.write(fd, b"memory file")
    yield
    assert os.pread(fd, 20, 0) == b"memory file"


def locks():
    whole, part = open("/tmp/flock", "w+b"), open("/tmp/posix", "w+b")
    fcntl.flock(whole, fcntl.LOCK_EX)
    fcntl.lockf(part, fcntl.LOCK_EX, 10, 5)
    yield

    def other():
        with open("/tmp/flock", "r+b") as again, open("/tmp/posix", "r+b") as other:
            for attempt in (
                lambda: fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB),
                lambda: fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 7),
            ):
                try:
                    attempt()
                except BlockingIOError:
                    continue
                return 1
            fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 70)
        return 0

    assert ended(child(other)) == 0


def inotify_watch():
    os.mkdir("/tmp/watched")
    fd = checked(libc.inotify_init1(os.O_NONBLOCK), "inotify_init1")
    checked(libc.inotify_add_watch(fd, b"/tmp/watched", 0x100), "inotify_add_watch")
    yield
    with contextlib.suppress(BlockingIOError):
        os.read(fd, 4096)
    open("/tmp/watched/new", "w").close()
    assert b"new" in os.read(fd, 4096)


def deleted_directory():
    os.mkdir("/tmp/gone")
    os.chdir("/tmp/gone")
    os.rmdir("/tmp/gone")
    yield
    assert os.readlink("/proc/self/cwd").startswith("/tmp/gone")
    try:
        os.getcwd()
    except FileNotFoundError:
        return
    raise AssertionError("the directory is there")


def shm_file():
    fd = os.open("/dev/shm/block", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 1 << 20)
    view = mmap.mmap(fd, 1 << 20)
    view[12345:12350] = b"hello"
    yield
    assert view[12345:12350] == b"hello"
    assert open("/dev/shm/block", "rb").read()[12345:12350] == b"hello"
    view[0:2] = b"hi"
    assert os.pread(fd, 2, 0) == b"hi"


def temporary_file():
    """O_TMPFILE: a file that never had a name."""
    fd = os.open("/tmp", os.O_TMPFILE | os.O_RDWR)
    os.write(fd, b"unnamed")
    yield
    assert os.pread(fd, 10, 0) == b"unnamed"


# -- what is in a tmpfs


def seen(top):
    """All that can be told of what is beneath a directory; times as tar keeps them.

    What is mounted there is passed over, and what holds such: CRIU makes its place anew.
    """
    told = {}
    for place, directories, files in os.walk(top):
        directories[:] = [name for name in directories if not os.path.ismount(f"{place}/{name}")]
        for name in [".", *directories, *files]:
            path = os.path.join(place, name)
            status = os.lstat(path)
            if path == "/dev/.":
                continue
            content = b""
            if os.path.islink(path):
                content = os.readlink(path).encode()
            elif os.path.isfile(path):
                content = open(path, "rb").read()
            told[path] = (
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_rdev,
                content,
                int(status.st_mtime),
            )
    return told


def kept(top):
    """Yield once; then all beneath a directory must be as it was."""
    before = seen(top)
    yield
    after = seen(top)
    assert after == before, sorted(set(after.items()) ^ set(before.items()))


def small_kinds(top):
    """Every kind of file, none of them large."""
    os.makedirs(f"{top}/deep/er", 0o700)
    os.chmod(f"{top}/deep", 0o1777)
    with open(f"{top}/deep/er/text", "w") as file:
        file.write("what is written here is kept\n" * 300)
    os.chown(f"{top}/deep/er/text", 1234, 4321)
    os.chmod(f"{top}/deep/er/text", 0o6755)
    os.utime(f"{top}/deep/er/text", (1e9, 1.1e9))
    open(f"{top}/empty", "w").close()
    os.symlink("nowhere/at/all", f"{top}/link")
    os.lchown(f"{top}/link", 7, 8)
    os.mkfifo(f"{top}/fifo", 0o640)
    os.mknod(f"{top}/device", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    for directory in (f"{top}/deep", top):
        os.utime(directory, (1e9, 1e9))


def small_tmpfs():
    for top in ("/dev/shm/small", "/dev/of-its-own"):
        os.mkdir(top)
        small_kinds(top)
    yield from kept("/dev")
    assert open("/dev/of-its-own/device", "rb").read(3) == bytes(3)


def dev_itself():
    os.remove("/dev/full")
    os.symlink("null", "/dev/full")
    os.chmod("/dev/tty", 0o620)
    yield from kept("/dev")


def shm_socket():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("/dev/shm/socket")
    listener.listen()
    yield
    client = socket.socket(socket.AF_UNIX)
    client.connect("/dev/shm/socket")
    listener.accept()[0].sendall(b"heard")
    assert client.recv(10) == b"heard"


def shm_large():
    """More than is done without tar: many MiB, and a name longer than a head of tar holds."""
    os.mkdir("/dev/shm/large")
    with open("/dev/shm/large/random", "wb") as file:
        file.write(os.urandom(5 << 20))
    with open("/dev/shm/large/" + "n" * 200, "w") as file:
        file.write("long")
    yield from kept("/dev/shm/large")


def shm_holes():
    with open("/dev/shm/holes", "wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"middle")
    blocks = os.stat("/dev/shm/holes").st_blocks
    yield
    assert os.stat("/dev/shm/holes").st_size == 1 << 30
    assert os.stat("/dev/shm/holes").st_blocks <= blocks + 64
    with open("/dev/shm/holes", "rb") as file:
        file.seek(1 << 29)
        assert file.read(8) == b"middle\0\0"


def shm_names():
    """One file of two names."""
    with open("/dev/shm/one", "w") as file:
        file.write("same")
    os.link("/dev/shm/one", "/dev/shm/other")
    yield
    assert os.path.samefile("/dev/shm/one", "/dev/shm/other")
    assert open("/dev/shm/other").read() == "same"


def shm_open_and_gone():
    """Shared memory as shm_open(3) and shm_unlink(3) leave it: mapped twice, of no name."""
    fd = os.open("/dev/shm/gone", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 40960)
    os.unlink("/dev/shm/gone")
    view = mmap.mmap(fd, 40960)
    view[100:105] = b"ours!"
    reader, writer = os.pipe()

    def answer():
        view[200:205] = os.read(reader, 5)
        sleep_for_ever()

    pid = child(answer)
    yield
    assert view[100:105] == b"ours!"
    os.write(writer, b"heard")
    until(lambda: view[200:205] == b"heard")
    assert not os.path.exists("/dev/shm/gone")
    os.kill(pid, signal.SIGKILL)
    ended(pid)


def shm_full():
    """Not a page is free, and the limit stays."""
    size = os.statvfs("/dev/shm").f_blocks
    fd = os.open("/dev/shm/all", os.O_RDWR | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(fd, os.urandom(1 << 20))
    assert os.statvfs("/dev/shm").f_bfree == 0
    yield
    assert os.statvfs("/dev/shm").f_blocks == size
    assert os.statvfs("/dev/shm").f_bfree == 0
    assert os.fstat(fd).st_size == os.stat("/dev/shm/all").st_size == size * 4096


# -- between processes


def pipes():
    data = os.urandom(50_000)
    reader, writer = os.pipe()
    os.write(writer, data)
    os.mkfifo("/tmp/fifo")
    both = os.open("/tmp/fifo", os.O_RDWR)
    os.write(both, b"in the fifo")
    big_reader, big_writer = os.pipe()
    fcntl.fcntl(big_writer, 1031, 1 << 20)  # F_SETPIPE_SZ
    yield
    got = b""
    while len(got) < len(data):
        got += os.read(reader, 65536)
    assert got == data
    assert os.read(both, 100) == b"in the fifo"
    assert fcntl.fcntl(big_writer, 1032) == 1 << 20


def unix_stream():
    left, right = socket.socketpair()
    left.sendall(b"to the right" * 500)
    right.sendall(b"to the left")
    yield
    got = b""
    while len(got) < 6000:
        got += right.recv(65536)
    assert got == b"to the right" * 500
    assert left.recv(100) == b"to the left"
    left.sendall(b"more")
    assert right.recv(10) == b"more"


def unix_datagrams():
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for number in range(5):
        left.send(b"packet %d" % number)
    named = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    named.bind("/tmp/dgram.sock")
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.connect("/tmp/dgram.sock")
    sender.send(b"queued")
    yield
    assert [right.recv(100) for _ in range(5)] == [b"packet %d" % n for n in range(5)]
    assert named.recv(100) == b"queued"
    sender.send(b"later")
    assert named.recv(100) == b"later"


def unix_listener():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("/tmp/stream.sock")
    listener.listen(5)
    client = socket.socket(socket.AF_UNIX)
    client.connect("/tmp/stream.sock")
    server, _ = listener.accept()
    client.sendall(b"in flight")
    yield
    assert server.recv(100) == b"in flight"
    another = socket.socket(socket.AF_UNIX)
    another.connect("/tmp/stream.sock")
    accepted, _ = listener.accept()
    another.sendall(b"fresh")
    assert accepted.recv(10) == b"fresh"


def shared_memory():
    shared = mmap.mmap(-1, 1 << 20)
    shared[0:4] = struct.pack("I", 1)

    def add():
        while True:
            time.sleep(0.01)
            (number,) = struct.unpack("I", shared[4:8])
            shared[4:8] = struct.pack("I", number + 1)

    def count():
        return struct.unpack("I", shared[4:8])[0]

    pid = child(add)
    until(lambda: count() > 0)
    before = count()
    yield
    until(lambda: count() > before)
    os.kill(pid, signal.SIGKILL)
    ended(pid)
    assert shared[0:4] == struct.pack("I", 1)


def sysv():
    libc.shmat.restype = ctypes.c_void_p
    shm = checked(libc.shmget(0x4D1, 65536, 0o1600), "shmget")
    address = libc.shmat(shm, None, 0)
    ctypes.memmove(address, b"segment", 7)
    queue = checked(libc.msgget(0x4D2, 0o1600), "msgget")
    message = struct.pack("l", 7) + b"queued message"
    checked(libc.msgsnd(queue, message, 14, 0), "msgsnd")
    semaphores = checked(libc.semget(0x4D3, 2, 0o1600), "semget")
    checked(libc.semctl(semaphores, 1, 16, 5), "semctl")  # SETVAL
    yield
    assert ctypes.string_at(address, 7) == b"segment"
    assert libc.shmget(0x4D1, 0, 0) == shm
    buffer = ctypes.create_string_buffer(64)
    assert checked(libc.msgrcv(queue, buffer, 50, 7, 0), "msgrcv") == 14
    assert buffer.raw[8:22] == b"queued message"
    assert checked(libc.semctl(semaphores, 1, 12), "semctl") == 5  # GETVAL


# -- processes


def threads():
    turns = [0] * 8
    stop = threading.Event()

    def work(number):
        while not stop.is_set():
            turns[number] += 1
            time.sleep(0.005)

    running = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in running:
        thread.start()
    until(lambda: all(turns))
    before = list(turns)
    yield
    until(lambda: all(new > old for new, old in zip(turns, before, strict=True)))
    stop.set()
    for thread in running:
        thread.join()


def sessions():
    reader, writer = os.pipe()

    def leader():
        os.setsid()
        member = child(sleep_for_ever)
        apart = child(sleep_for_ever)
        os.setpgid(apart, apart)
        os.write(writer, struct.pack("3i", os.getpid(), member, apart))
        sleep_for_ever()

    def facts():
        return [(os.getsid(pid), os.getpgid(pid)) for pid in pids]

    child(leader)
    pids = struct.unpack("3i", os.read(reader, 12))
    before = facts()
    assert before[1] == (pids[0], pids[0])
    assert before[2] == (pids[0], pids[2])
    yield
    assert facts() == before
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def zombie():
    pid = child(lambda: 17)
    killed = child(sleep_for_ever)
    os.kill(killed, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)
    yield
    assert ended(pid) == 17
    assert ended(killed) == -signal.SIGKILL


def state_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def stopped():
    pid = child(sleep_for_ever)
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    yield
    until(lambda: state_of(pid) == "T")
    os.kill(pid, signal.SIGCONT)
    until(lambda: state_of(pid) != "T")
    os.kill(pid, signal.SIGKILL)
    assert ended(pid) == -signal.SIGKILL


def timers():
    ticks = {signal.SIGALRM: 0, signal.SIGRTMIN: 0}

    def tick(number, _frame):
        ticks[number] += 1

    for number in ticks:
        signal.signal(number, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    event = bytearray(64)
    struct.pack_into("Pii", event, 0, 0, signal.SIGRTMIN, 0)
    timer = ctypes.c_void_p()
    raw = (ctypes.c_char * 64).from_buffer(event)
    checked(libc.timer_create(time.CLOCK_MONOTONIC, raw, ctypes.byref(timer)), "timer_create")
    period = struct.pack("4l", 0, 20_000_000, 0, 20_000_000)
    checked(libc.timer_settime(timer, 0, period, None), "timer_settime")
    until(lambda: all(ticks.values()))
    yield
    before = dict(ticks)
    until(lambda: all(ticks[number] > before[number] for number in ticks))


def clocks():
    monotonic, boot = time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)
    yield
    assert monotonic < time.monotonic() < monotonic + 600
    assert boot < time.clock_gettime(time.CLOCK_BOOTTIME) < boot + 600


def descriptors():
    """epoll over an eventfd, a signalfd, a timerfd."""
    event = os.eventfd(3)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    mask = struct.pack("Q", 1 << (signal.SIGUSR2 - 1))
    signals = checked(libc.signalfd(-1, mask + bytes(120), os.O_NONBLOCK), "signalfd")
    timer = checked(libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK), "timerfd_create")
    period = struct.pack("4l", 0, 20_000_000, 0, 20_000_000)
    checked(libc.timerfd_settime(timer, 0, period, None), "timerfd_settime")
    poll = select.epoll()
    for fd in (event, signals, timer):
        poll.register(fd, select.EPOLLIN)
    os.kill(os.getpid(), signal.SIGUSR2)
    yield
    time.sleep(0.1)
    ready = {fd for fd, _ in poll.poll(1)}
    assert ready == {event, signals, timer}, (ready, event, signals, timer)
    assert os.eventfd_read(event) == 3
    assert struct.unpack_from("I", os.read(signals, 128))[0] == signal.SIGUSR2
    assert struct.unpack("Q", os.read(timer, 8))[0] > 0


def pty_pair():
    """Both ends in one process, raw, with data under way."""
    leader, follower = pty.openpty()
    attributes = termios.tcgetattr(follower)
    attributes[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(follower, termios.TCSANOW, attributes)
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("4H", 33, 101, 0, 0))
    yield
    os.write(leader, b"typed")
    assert os.read(follower, 100) == b"typed"
    os.write(follower, b"shown")
    assert os.read(leader, 100) == b"shown"
    size = fcntl.ioctl(follower, termios.TIOCGWINSZ, bytes(8))
    assert struct.unpack("4H", size)[:2] == (33, 101)
    assert termios.tcgetattr(follower)[3] == attributes[3]


def pty_child():
    """A child in a session of its own, with the pty as its controlling terminal."""
    pid, leader = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        os.execv(
            "/bin/sh", ["sh", "-c", "stty -echo; echo hello; while read x; do echo got $x; done"]
        )
    said = b""
    while b"hello" not in said:
        said += os.read(leader, 100)
    yield
    os.write(leader, b"word\n")
    said = b""
    while b"got word\r\n" not in said:
        said += os.read(leader, 100)
    os.write(leader, b"\x04")
    assert ended(pid) == 0


def pending_signal():
    got = []
    signal.signal(signal.SIGRTMIN, lambda number, _frame: got.append(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGRTMIN)
    yield
    assert not got
    for _ in range(3):
        assert signal.sigtimedwait({signal.SIGRTMIN}, 1)


def credentials():
    def demoted():
        os.setgroups([4242])
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)
        os.write(writer, b"x")
        signal.pause()

    reader, writer = os.pipe()
    pid = child(demoted)
    os.read(reader, 1)

    def facts():
        with open(f"/proc/{pid}/status") as file:
            return [x for x in file if x.startswith(("Uid", "Gid", "Groups", "Cap", "NoNewPrivs"))]

    before = facts()
    yield
    assert facts() == before
    os.kill(pid, signal.SIGKILL)
    ended(pid)


# -- network


def tcp_loopback():
    listener = socket.create_server(("127.0.0.1", 7001))
    client = socket.create_connection(("127.0.0.1", 7001))
    server, _ = listener.accept()
    data = os.urandom(20_000)
    client.sendall(data)
    queued = socket.create_connection(("127.0.0.1", 7001))
    accepted, _ = listener.accept()
    yield
    got = b""
    while len(got) < len(data):
        got += server.recv(65536)
    assert got == data
    server.sendall(b"answer")
    assert client.recv(100) == b"answer"
    queued.sendall(b"x")
    assert accepted.recv(1) == b"x"
    with socket.create_connection(("127.0.0.1", 7001)):
        listener.accept()


def udp():
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 7002))
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect(("127.0.0.1", 7002))
    yield
    sender.send(b"datagram")
    assert receiver.recv(100) == b"datagram"


def echo_server():
    """For a client outside: a listener, and what it has accepted is answered with numbers."""
    listener = socket.create_server(("", 7003))

    def serve(connection):
        answers = 0
        while data := connection.recv(65536):
            answers += 1
            connection.sendall(b"%d %s" % (answers, data))

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield


def run(kind):
    with contextlib.suppress(StopIteration):
        generator = globals()[kind]()
        next(generator)
        say(f"ready {kind}")
        signal.sigwait({signal.SIGUSR1})
        next(generator)


def main():
    os.chdir("/")
    tempfile.tempdir = "/tmp"
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    signal.signal(signal.SIGUSR1, lambda *_: None)
    pids = {child(lambda kind=kind: run(kind)): kind for kind in sys.argv[1:]}
    signal.sigwait({signal.SIGUSR1})
    for pid in pids:
        os.kill(pid, signal.SIGUSR1)
    failed = 0
    while pids:
        pid, status = os.wait()
        kind = pids.pop(pid, None)
        if kind:
            say(f"{kind} {'intact' if status == 0 else 'DAMAGED'}")
            failed += status != 0
    sys.exit(min(failed, 100))


if __name__ == "__main__":
    main()
