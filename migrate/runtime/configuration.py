"""The host's configuration file, TOML: /etc/migrate/config.toml, or what MIGRATE_CONFIG names."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from migrate.runtime.errors import ConfigurationBad

_PLACE = "/etc/migrate/config.toml"
_LIMIT = 1 << 20


class Storage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[storage]: `driver` is overlay, btrfs or vfs; "" lets the host be looked at."""

    driver: str = ""


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file can say; all of it may be left out, and so may the file."""

    storage: Storage = Storage()


def read_configuration() -> Configuration:
    """The configuration of this host; raises ConfigurationBad."""
    path = Path(os.environ.get("MIGRATE_CONFIG") or _PLACE)
    try:
        with path.open("rb") as file:
            text = file.read(_LIMIT).decode()
        import tomllib

        return msgspec.convert(tomllib.loads(text), type=Configuration)
    except FileNotFoundError:
        return Configuration()
    except (OSError, ValueError) as error:  # TOML's and msgspec's errors are ValueErrors
        raise ConfigurationBad(
            f"the configuration {path} can't be used", cause=str(error), mend="mend or remove it"
        ) from error
