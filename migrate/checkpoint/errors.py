"""What can go wrong with checkpoints (codes 34 and 65-74)."""

from __future__ import annotations

from migrate.errors import MigrateError


class CheckpointBad(MigrateError):
    """A checkpoint is damaged, truncated, or none at all; nothing was touched."""

    code = 65
    mend = "use another copy of the checkpoint, or make it again"


class CheckpointTooNew(MigrateError):
    """The checkpoint's format is one that this version does not know."""

    code = 66
    mend = "restore it with the version of migrate that made it, or a newer one"


class NotDumpable(MigrateError):
    """Something in the container can't be checkpointed."""

    code = 67


class PlaceUnfit(MigrateError):
    """This host can't hold the container as it was."""

    code = 68


class OutputExists(MigrateError):
    """The checkpoint's destination exists already."""

    code = 69
    mend = "choose another name with -o, or remove what is there"


class EndedWithCriu(MigrateError):
    """CRIU was killed at a moment at which the container can't live on without it."""

    code = 70
    mend = "start it again with 'migrate start'; see the kernel's log for who killed criu (dmesg)"


class StagedFileBad(MigrateError):
    """A file that should have been sent ahead is missing, or is something else."""

    code = 71
    mend = "move the container again"


class TrackerUnfit(MigrateError):
    """The way to find written pages that was asked for does not work on this host."""

    code = 72
    mend = "use --tracker auto; 'migrate doctor' says what this kernel can do"


class CannotOpen(MigrateError):
    """A sealed checkpoint can't be decrypted; nothing was touched."""

    code = 73
    mend = "give --identity the file with a key that it was made for"


class RecipientInvalid(MigrateError):
    """A key to encrypt to is none."""

    code = 74
    mend = "give age's public key ('age1...', of age-keygen) or an SSH one ('ssh-ed25519 ...')"


class NetworkNotRestored(MigrateError):
    """What the container's root has set in its network can't be put in on this host."""

    code = 34
    mend = "undo it in the container, or leave it behind with --mode cold"
