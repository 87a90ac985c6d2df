"""The command `migrate-oci`: global options, one command, errors to stderr and to --log."""

from __future__ import annotations

import os
import sys

from migrate import __version__
from migrate.errors import MigrateError
from migrate.oci.commands import COMMANDS, GLOBAL, Command, options_of
from migrate.oci.errors import BadUsage, Unsupported
from migrate.oci.options import describe, parse

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any, NoReturn

NAME = "migrate-oci"
SPEC_VERSION = "1.2.0"
FAILURE = 1
_SYSTEMD = "/run/systemd/system"  # sd_booted(3)


class Ended(Exception):
    """The command's own exit status (of `run` and `exec`: the program's)."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def main() -> NoReturn:
    """Run the command in sys.argv; 1 on failure, as runc."""
    settings: dict[str, Any] = {entry.key: entry.unset for entry in GLOBAL}
    status = FAILURE
    try:
        settings, words = parse(sys.argv[1:], GLOBAL, to_first=True)
        status = _dispatch(settings, words)
    except Ended as ended:
        status = ended.status
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        sys.stderr.close()
        status = 141
    except MigrateError as error:
        _tell(settings, error)
        status = getattr(error, "status", FAILURE)
    except Exception as error:  # noqa: BLE001 -- the last net: words, not a traceback
        if settings["debug"]:
            import traceback

            traceback.print_exc()
        _tell(settings, MigrateError(str(error) or type(error).__name__))
    try:
        sys.stdout.flush()
    except OSError:
        status = status or FAILURE
    sys.exit(status)


def _dispatch(settings: dict[str, Any], words: list[str]) -> int:
    if settings["version"]:
        print(f"{NAME} version {__version__}\nspec: {SPEC_VERSION}")
        return 0
    if settings["help"] or not words or words[0] == "help":
        print(_overview())
        return 0
    if settings["log_format"] not in {"text", "json"}:
        raise BadUsage(f"invalid log-format {settings['log_format']!r}", cause="text or json")
    command = COMMANDS.get(words[0])
    if command is None:
        raise BadUsage(f"no such command: {words[0]}")
    if settings["rootless"].lower() in {"true", "1"}:
        raise Unsupported("--rootless is not supported", cause=f"{NAME} needs root")
    if settings["cgroup_manager"] not in {"cgroupfs", "systemd"}:
        word = settings["cgroup_manager"]
        raise BadUsage(f"invalid cgroup-manager {word!r}", cause="cgroupfs or systemd")
    settings["systemd_cgroup"] |= settings["cgroup_manager"] == "systemd"
    if settings["systemd_cgroup"] and not os.path.isdir(_SYSTEMD):
        raise Unsupported("--systemd-cgroup is not supported", cause="no systemd runs on this host")
    values, rest = parse(words[1:], options_of(command), to_first=command.to_first)
    if values["help"]:
        print(_help(words[0], command))
        return 0
    least, most = command.words
    if not least <= len(rest) <= most:
        usage = f"{NAME} {words[0]} [options] {command.usage}"
        raise BadUsage(f"{words[0]}: {len(rest)} arguments do not fit", cause=f"usage: {usage}")
    if command.moves:
        from migrate.runtime.cgroups.moving import Preparing

        try:
            settings["preparing"] = Preparing()  # the kernel begins while the rest is loaded
        except OSError:  # our own group is above what this cgroup namespace shows
            settings["preparing"] = None
    place, _, function = command.place.partition(":")
    module = __import__(f"migrate.oci.{place}", fromlist=[function])  # importlib's takes longer
    getattr(module, function)(settings, values, rest)
    return 0


def _overview() -> str:
    width = max(map(len, COMMANDS))
    rows = "".join(f"   {name:<{width}}  {entry.help}\n" for name, entry in COMMANDS.items())
    return (
        f"{NAME}: OCI containers by runc's command line\n\nusage: {NAME} [options] COMMAND ...\n\n"
        f"commands:\n{rows}\noptions:\n{describe(GLOBAL)}"
    )


def _help(name: str, command: Command) -> str:
    return (
        f"{NAME} {name}: {command.help}\n\nusage: {NAME} {name} [options] {command.usage}\n\n"
        f"options:\n{describe(options_of(command))}"
    )


def _tell(settings: dict[str, Any], error: MigrateError) -> None:
    """On stderr, and to --log: engines read the last line of it for the cause."""
    message = ": ".join(part for part in (error.what, error.cause) if part).replace("\n", " ")
    sys.stderr.write(f"{NAME}: {message}\n")
    if error.mend:
        sys.stderr.write(f"  next: {error.mend}\n")
    if settings["log"]:
        from migrate.oci.errorlog import log

        log(settings["log"], settings["log_format"], "error", message)
