"""Command lines of `migrate run` and `exec` that are plain; click reads all others."""

from __future__ import annotations

from migrate.runtime.wanted import Wanted

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from migrate.runtime.entering import Program

_FLAGS = {"--rm": "remove_at_exit"}
_VALUES = {"--name": "name", "--rootfs": "rootfs", "-w": "directory", "--workdir": "directory",
           "--network": "network"}  # fmt: skip
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def plainly(words: list[str]) -> Wanted | None:
    """What a command line wants that has only plain options; None for every other."""
    wanted = Wanted()
    rest = list(words)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in _FLAGS:
            setattr(wanted, _FLAGS[option], True)
        elif option in _VALUES and rest and rest[0] and not rest[0].startswith("-"):
            setattr(wanted, _VALUES[option], rest.pop(0))
        elif option in {"-e", "--env"} and rest and _is_variable(rest[0]):
            wanted.environment.append(rest.pop(0))
        else:
            return None
    if not wanted.rootfs and rest:
        wanted.image = rest.pop(0)
    wanted.arguments = rest
    fits = (
        bool(wanted.image or wanted.rootfs) and wanted.network in {"none", "host"}
        and (not wanted.directory or wanted.directory.startswith("/"))
        and _is_name(wanted.name)
    )  # fmt: skip
    return wanted if fits else None


def exec_plainly(words: list[str]) -> tuple[str, Program] | None:
    """Container and program of a command line of `exec` with plain options; None for others."""
    from migrate.runtime.entering import Program

    rest = list(words)
    environment: list[str] = []
    directory = user = None
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in {"-i", "--interactive"}:
            continue
        if not rest or rest[0].startswith("-"):
            return None
        value = rest.pop(0)
        if option in {"-e", "--env"} and _is_variable(value):
            environment.append(value)
        elif option in {"-w", "--workdir"} and value.startswith("/"):
            directory = value
        elif option in {"-u", "--user"} and value:
            user = value
        else:
            return None
    if len(rest) < 2 or rest[1].startswith("-"):
        return None
    return rest[0], Program(rest[1:], environment, directory, user)


def _is_variable(word: str) -> bool:
    return "=" in word and not word.startswith("=") and "\0" not in word


def _is_name(name: str) -> bool:
    """Whether it is none, or one that `records.check_name` takes."""
    return len(name) <= 128 and _NAME.issuperset(name) and not name.startswith(("_", ".", "-"))
