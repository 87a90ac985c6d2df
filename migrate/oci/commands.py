"""The commands of `migrate-oci`: their options, and where their code is, imported when called."""

from __future__ import annotations

from migrate.oci.options import FLAG, LIST, NUMBER, TEXT, Option, option

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Sequence


class Command:
    """One command: its function is `migrate.oci.MODULE.FUNCTION(globals, values, words)`.

    `words`: how many there must be, and may; with `to_first` options end at the first. With `moves`
    it puts a process into a control group: `settings["preparing"]` is its `Preparing`, or None.
    """

    __slots__ = ("help", "moves", "options", "place", "to_first", "usage", "words")

    def __init__(
        self, place: str, usage: str, text: str, options: Sequence[Option] = (),
        words: tuple[int, int] = (1, 1), *, to_first: bool = False, moves: bool = False,
    ) -> None:  # fmt: skip
        self.moves = moves
        self.place = place
        self.usage = usage
        self.help = text
        self.options = options
        self.words = words
        self.to_first = to_first


GLOBAL = (
    option("root", TEXT, "directory of the containers' state", "/run/migrate-oci"),
    option("log", TEXT, "file for the errors of this command"),
    option("log-format", TEXT, "text or json", "text"),
    option("debug", FLAG, "show where an unforeseen error came from"),
    option("systemd-cgroup", FLAG, "the group is a unit of systemd's"),
    option("cgroup-manager", TEXT, "cgroupfs or systemd, as crun has it", "cgroupfs"),
    option("criu", TEXT, "ignored, as runc does: migrate has a CRIU of its own"),
    option("rootless", TEXT, "true, false or auto; true is refused: this needs root", "auto"),
    option("version v", FLAG, "print the version"),
    option("help h", FLAG, "show this"),
)
_HELP = option("help h", FLAG, "show this")
_CREATE = (
    option("bundle b", TEXT, "directory with config.json", "."),
    option("console-socket", TEXT, "AF_UNIX socket that gets the terminal's master"),
    option("pid-file", TEXT, "file to write the first process's pid to"),
    option("no-pivot", FLAG, "MS_MOVE and chroot in place of pivot_root (for a rootfs on ramfs)"),
    option("no-new-keyring", FLAG, "keep the caller's session keyring"),
    option("preserve-fds", NUMBER, "pass N more descriptors, from 3 (after $LISTEN_FDS)", 0),
)
_EXEC = (
    option("console-socket", TEXT, "AF_UNIX socket that gets the terminal's master"),
    option("cwd", TEXT, "working directory"),
    option("env e", LIST, "set a variable (NAME=VALUE)"),
    option("tty t", FLAG, "give it a terminal"),
    option("user u", TEXT, "UID[:GID]"),
    option("additional-gids g", LIST, "one more group number"),
    option("process p", TEXT, "file with the process as in config.json"),
    option("detach d", FLAG, "do not wait for its end"),
    option("pid-file", TEXT, "file to write its pid to"),
    option("process-label", TEXT, "refused: no SELinux"),
    option("apparmor", TEXT, "AppArmor profile"),
    option("no-new-privs", FLAG, "set no_new_privs"),
    option("cap c", LIST, "give one more capability"),
    option("preserve-fds", NUMBER, "pass N more descriptors, from 3", 0),
    option("cgroup", LIST, "a group below the container's (PATH, or CONTROLLER:PATH)"),
    option("ignore-paused", FLAG, "do not refuse a paused container"),
)
_UPDATE = (
    option("resources r", TEXT, "file with linux.resources, - for standard input"),
    option("blkio-weight", NUMBER, "10 to 1000"),
    option("cpu-period", NUMBER, "microseconds"),
    option("cpu-quota", NUMBER, "microseconds in a period; -1 for no limit"),
    option("cpu-burst", NUMBER, "microseconds"),
    option("cpu-rt-period", NUMBER, "microseconds"),
    option("cpu-rt-runtime", NUMBER, "microseconds"),
    option("cpu-share", NUMBER, "relative weight"),
    option("cpu-idle", NUMBER, "1: only when nobody else wants to (cgroup v2)"),
    option("cpuset-cpus", TEXT, "cores"),
    option("cpuset-mems", TEXT, "memory nodes"),
    option("memory", TEXT, "bytes"),
    option("memory-reservation", TEXT, "bytes"),
    option("memory-swap", TEXT, "bytes of memory and swap; -1 for no limit"),
    option("kernel-memory", TEXT, "ignored, as the kernel does"),
    option("kernel-memory-tcp", TEXT, "bytes (cgroup v1)"),
    option("pids-limit", NUMBER, "processes and threads; -1 for no limit"),
    option("l3-cache-schema", TEXT, "refused: no Intel RDT"),
    option("mem-bw-schema", TEXT, "refused: no Intel RDT"),
)

_BOTH = (
    option("image-path", TEXT, "directory of the images (./checkpoint)"),
    option("work-path", TEXT, "directory of CRIU's log (that of the images)"),
    option("tcp-established", FLAG, "open TCP connections, too"),
    option("ext-unix-sk", FLAG, "unix sockets that lead out of the container, too"),
    option("shell-job", FLAG, "a session whose leader is outside, too"),
    option("file-locks", FLAG, "file locks, too"),
    option("manage-cgroups-mode", TEXT, "accepted: the runtime makes the container's own", "soft"),
    option("empty-ns", LIST, "leave a namespace's contents out: network"),
    option("auto-dedup", FLAG, "drop from parent images what newer ones have"),
    option("lazy-pages", FLAG, "refused: see 'migrate move --mode post-copy'"),
)
_CHECKPOINT = (
    *_BOTH,
    option("parent-path", TEXT, "images of an earlier --pre-dump, relative to --image-path"),
    option("leave-running", FLAG, "let the container run on"),
    option("pre-dump", FLAG, "memory only, and let the container run on"),
    option("page-server", TEXT, "ADDRESS:PORT of a CRIU page server that takes the memory"),
)
_RESTORE = (
    *_BOTH,
    option("bundle b", TEXT, "directory with config.json", "."),
    option("console-socket", TEXT, "AF_UNIX socket that gets the terminal's master"),
    option("detach d", FLAG, "do not wait for its end"),
    option("pid-file", TEXT, "file to write the first process's pid to"),
    option("no-pivot", FLAG, "accepted: CRIU enters the root"),
    option("no-subreaper", FLAG, "do not become the parent of the container's orphans"),
    option("lsm-profile", TEXT, "refused"),
    option("lsm-mount-context", TEXT, "refused: no SELinux"),
)

COMMANDS = {
    "create": Command("create:create", "ID", "make a container that waits for start", _CREATE),
    "run": Command("foreground:run", "ID", "create, start, wait and delete", (
        *_CREATE, option("detach d", FLAG, "do not wait for its end"),
        option("keep", FLAG, "do not delete it at its end"),
        option("no-subreaper", FLAG, "accepted"),
    )),
    "start": Command("start:start", "ID", "let a created container run its program"),
    "state": Command("show:state", "ID", "the state as JSON"),
    "kill": Command("kill:kill", "ID [SIGNAL]", "send a signal (SIGTERM) to the first process",
                    (option("all a", FLAG, "to all processes"),), (1, 2)),
    "delete": Command("delete:delete", "ID", "remove a stopped container",
                      (option("force f", FLAG, "kill it first; no error if there is none"),)),
    "list": Command("show:list_all", "", "list the containers", (
        option("format f", TEXT, "table or json", "table"),
        option("quiet q", FLAG, "ids only"),
    ), (0, 0)),
    "ps": Command("show:processes", "ID [PS OPTIONS]", "the container's processes",
                  (option("format f", TEXT, "table or json", "table"),), (1, 99), to_first=True),
    "pause": Command("pause:pause", "ID", "freeze all processes"),
    "resume": Command("pause:resume", "ID", "let a paused container run"),
    "exec": Command("execute:execute", "ID PROGRAM [ARGS...]", "one more process in a container",
                    _EXEC, (1, 1 << 20), to_first=True, moves=True),
    "spec": Command("template:spec", "", "write a config.json to begin with",
                    (option("bundle b", TEXT, "directory to write it to", "."),
                     option("rootless", FLAG, "with a user namespace")), (0, 0)),
    "features": Command("features:features", "", "what this runtime knows, as JSON", (), (0, 0)),
    "events": Command("events:events", "ID", "the use of resources as JSON", (
        option("stats", FLAG, "once, then end"),
        option("interval", TEXT, "time between two, as 5s or 500ms", "5s"),
    )),
    "update": Command("update:update", "ID", "change limits", _UPDATE),
    "checkpoint": Command("checkpoint:checkpoint", "ID", "write a container to CRIU images",
                          _CHECKPOINT),
    "restore": Command("restore:restore", "ID", "a container from CRIU images", _RESTORE),
}  # fmt: skip
"""By name. `help` is read everywhere."""


def options_of(command: Command) -> tuple[Option, ...]:
    """Its own, and --help."""
    return (*command.options, _HELP)
