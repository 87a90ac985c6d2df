"""Terminals: whose other end, session or driver is outside the container."""

from __future__ import annotations

from migrate.criu.catalogue.known import Known

REDIRECT = "start it without that terminal: </dev/null, its output into a file, setsid"

TERMINALS = (
    Known(
        "tty-session-outside", "criu/tty.c", "dump_verify_tty_sids",
        "tty: Found dangling tty with sid %d pgid %d (%s) on peer fd %d.",
        "a process has a terminal open that belongs to a session outside the container", REDIRECT,
    ),
    Known(
        "pty-without-master", "criu/tty.c", "tty_verify_active_pairs",
        "tty: Found slave peer index %d without correspond master peer",
        "a process has a terminal open whose other end is outside the container", REDIRECT,
    ),
    Known(
        "ptys-without-master", "criu/tty.c", "tty_verify_active_pairs",
        "tty: Only one slave external peer is allowed (index %d)",
        "more than one terminal has its other end outside the container", REDIRECT,
    ),
    Known(
        "controlling-terminal", "criu/tty.c", "tty_verify_ctty",
        "tty: ctty inheritance detected sid/pgrp %d, no PTY peer with sid/pgrp needed",
        "a process has /dev/tty open, but not the terminal behind it", REDIRECT,
    ),
    Known(
        "controlling-terminal-elsewhere", "criu/tty.c", "tty_verify_ctty",
        "tty: ctty inheritance detected sid/pgrp %d (ctty pid_real %d pty pid_real %d)",
        "a process has /dev/tty open, but the terminal behind it is open in another only", REDIRECT,
    ),
    Known(
        "tty-driver", "criu/tty.c", "dump_one_tty",
        "tty: Unable to find a tty driver (rdev %#lx dev %#lx)",
        "a process has a terminal of a kind open that CRIU can't dump (a serial line?)",
        "close it first",
    ),
    Known(
        "tty-queue", "criu/tty.c", "tty_do_dump_queued_data",
        "tty: The tty (%s %#x) queued data overflow %zu bytes limit",
        "more output waits in a terminal than CRIU dumps, as nobody reads it",
        "have its other end read it, then try again",
    ),
    Known(
        "tty-in-message", "criu/tty.c", "dump_tty_info",
        "tty: No CTL for TTY dump, likely SCM case",
        "a terminal is on its way in a message of a unix socket (SCM_RIGHTS)",
        "try again: the receiver takes it soon",
    ),
    Known(
        "pty-index-taken", "criu/tty.c", "__pty_open_ptmx_index",
        "tty: Unable to open %s with specified index %d",
        "the number of a terminal (/dev/pts/N) is in use here already",
        "give the container a /dev/pts of its own, which every one of migrate's has",
    ),
    Known(
        "tty-session-missing", "criu/tty.c", "pty_open_unpaired_slave",
        "tty: Don't have tty to inherit session from, aborting",
        "a terminal's other end was outside the container, and there is none here",
        "start it without that terminal, then checkpoint it anew",
    ),
)  # fmt: skip
