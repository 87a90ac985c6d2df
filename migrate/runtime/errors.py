"""What can go wrong with containers on this host (codes 31-33, 35-49, 64, 193 and 14)."""

from __future__ import annotations

from migrate.errors import MigrateError


class ContainerUnknown(MigrateError):
    """No container has this name or id."""

    code = 35
    mend = "'migrate ps -a' lists the containers of this host"


class NameTaken(MigrateError):
    """Another container has this name or id."""

    code = 36
    mend = "choose another name, or remove the other container with 'migrate rm'"


class WrongState(MigrateError):
    """The container is not in a state that allows this."""

    code = 37


class SpecInvalid(MigrateError):
    """The container's specification can't be carried out."""

    code = 38


class StartFailed(MigrateError):
    """The container's init could not be set up or its program not be executed."""

    code = 39


class RootfsBad(MigrateError):
    """The root file system can't be used."""

    code = 40


class CgroupFailed(MigrateError):
    """A control group could not be made or set."""

    code = 41
    mend = "'migrate doctor' tells which controllers this host has"


class NetworkFailed(MigrateError):
    """The container's network could not be set up."""

    code = 42


class AddressTaken(MigrateError):
    """Another container or host has this address."""

    code = 43
    mend = "choose another address with --ip, or remove what holds it"


class IdsUnfit(MigrateError):
    """The ids of a container's user namespace are taken on a host, or can't be mapped there."""

    code = 193


class NetworkUnknown(MigrateError):
    """This host has no network of this name, or another one."""

    code = 31
    mend = "'migrate network ls' lists the networks of this host"


class NetworkInUse(MigrateError):
    """Containers use the network."""

    code = 32
    mend = "remove those containers first, or move them away"


class PortTaken(MigrateError):
    """A port of this host is published, or listened on, already."""

    code = 33
    mend = "publish another port with -p, or end what has this one"


class MonitorFailed(MigrateError):
    """The container's monitor did not start or does not answer."""

    code = 44
    mend = "'migrate kill' and 'migrate rm -f' still work; its log is in the container's directory"


class ContainerBusy(MigrateError):
    """Another command works on the container."""

    code = 45
    mend = "wait for that command, or end it, then try again"


class GenerationOld(MigrateError):
    """The record is older than the container: it has moved on to another host."""

    code = 46
    mend = "look for the container on the host it moved to; 'migrate rm' forgets the old record"


class ExecFailed(MigrateError):
    """The program could not be executed in the container."""

    code = 47


class MoveUnsettled(MigrateError):
    """A move of this container was interrupted and is not settled."""

    code = 48
    mend = "run 'migrate recover NAME' first"


class StillFilling(MigrateError):
    """The container's memory is still being filled after a restore; a dump would lose the rest."""

    code = 49
    mend = (
        "wait, then try again; 'migrate inspect' tells how far it is. If it stands still, the "
        "cause is in monitor.log in the container's run directory"
    )


class HostCordoned(MigrateError):
    """The host takes no containers now: somebody is about to empty it, or to work on it."""

    code = 14
    mend = "choose another host, or let it take containers again: 'migrate host uncordon [NAME]'"


class ConfigurationBad(MigrateError):
    """The host's configuration file can't be read, or says something that is not known."""

    code = 64
