"""A monitor reduced to its page server: `keeper.py`, the request as JSON on stdin.

Prints the pid of each server; ends when the last has. `begin` on stdin begins the fill.
"""

import json
import os
import select
import signal
import sys

from migrate.runtime.pagekeeper import PageKeeper

request = json.loads(sys.stdin.readline())
reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
signal.set_wakeup_fd(writer)
signal.signal(signal.SIGCHLD, lambda *_: None)
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)  # as the monitor does
keeper = PageKeeper()
directory = os.open(request["directory"], os.O_RDONLY)
print(keeper.start(request, directory)["pid"], flush=True)
os.close(directory)
poll = select.poll()
poll.register(0, select.POLLIN)
poll.register(reader, select.POLLIN)
while True:
    for descriptor, _ in poll.poll():
        if descriptor == 0:
            if not os.read(0, 100):
                poll.unregister(0)
            keeper.begin()
            continue
        os.read(reader, 100)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                if "error" not in keeper.state():
                    sys.exit(0)
                break
            if not pid:
                break
            keeper.on_child(pid, os.waitstatus_to_exitcode(status))
            state = keeper.state()
            print(state["pid"] or state, flush=True)
