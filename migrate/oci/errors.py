"""What can go wrong with a container of `migrate-oci` (codes 112-119, 15, 16)."""

from __future__ import annotations

from migrate.errors import MigrateError

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import ClassVar


class BadUsage(MigrateError):
    """The command line can't be read."""

    code = 112
    mend = "'migrate-oci --help' and 'migrate-oci COMMAND --help' tell what there is"


class NoSuchContainer(MigrateError):
    """No container has this id beneath --root."""

    code = 113


class NotAllowedNow(MigrateError):
    """The container is not in a state that allows this."""

    code = 114


class Unsupported(MigrateError):
    """What is asked for can't be done by this runtime or on this host."""

    code = 115


class BadConfig(MigrateError):
    """The bundle's config.json is not valid."""

    code = 116


class SetupFailed(MigrateError):
    """The container's first process, or one more in it, could not be set up."""

    code = 117


class HookFailed(MigrateError):
    """A hook failed or took too long."""

    code = 118


class ExecFailed(MigrateError):
    """The process could not be executed in the container."""

    code = 119
    status: ClassVar[int] = 255  # runc's exit status for it


class BadImage(MigrateError):
    """The directory is no checkpoint, or not one of this bundle."""

    code = 15


class NotCheckpointable(MigrateError):
    """The container is of a kind that CRIU can't dump, or not restore faithfully."""

    code = 16
