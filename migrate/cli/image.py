"""migrate image: import, list, inspect, export and remove the images of this host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrate.cli.output import print_json, print_table
from migrate.cli.progress import byte_progress
from migrate.cli.sizes import human_size
from migrate.cli.state import state_directory

if TYPE_CHECKING:
    from migrate.images.model import Image
    from migrate.images.store import Store

_SHORT_ID = 12


def _store() -> Store:
    from migrate.images.store import Store

    return Store(state_directory() / "images")


def _as_dict(image: Image) -> dict[str, Any]:
    return {
        "id": image.id,
        "names": list(image.names),
        "created": image.created,
        "size": image.size,
        "layers": list(image.diff_ids),
        "config": image.config,
    }


@click.group()
def image() -> None:
    """Manage the images that containers are made of."""


@image.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.argument("name", required=False)
@click.option("--rootfs", is_flag=True, help="PATH is a directory holding a root file system.")
def import_(path: Path, name: str | None, rootfs: bool) -> None:
    """Import an image from PATH and call it NAME.

    PATH is an OCI layout (tar or directory), the output of 'docker save', or a tar of a root file
    system; plain or compressed with gzip, zstd or xz. Without NAME the archive's own name is used.
    """
    from migrate.images.importing import import_archive, import_rootfs

    if rootfs:
        imported = import_rootfs(_store(), path, name)
    else:
        with byte_progress("importing") as progress:
            imported = import_archive(_store(), path, name, progress)
    click.echo(imported.names[0] if imported.names else imported.id)


@image.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the images of this host."""
    images = _store().images()
    if as_json:
        print_json([_as_dict(found) for found in images])
        return
    rows = []
    for found in images:
        short = found.id.removeprefix("sha256:")[:_SHORT_ID]
        size, layers = human_size(found.size), str(len(found.diff_ids))
        created = found.created[:19].replace("T", " ")
        rows += [(name, short, layers, size, created) for name in found.names or ("<none>",)]
    print_table(("NAME", "ID", "LAYERS", "SIZE", "CREATED"), rows)


@image.command()
@click.argument("reference")
def inspect(reference: str) -> None:
    """Show an image as JSON: names, layers, and how it is run."""
    print_json(_as_dict(_store().resolve(reference)))


@image.command("rm")
@click.argument("references", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Also if a container is made of it.")
def remove(references: tuple[str, ...], force: bool) -> None:
    """Forget images, by name or id.

    Their layers stay on disk until 'migrate image prune'.
    """
    store = _store()
    for reference in references:
        store.remove(reference, force=force)
        click.echo(reference)


@image.command()
@click.argument("reference")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
def export(reference: str, path: Path) -> None:
    """Write an image to PATH as a tar in OCI layout."""
    from migrate.images.exporting import export_archive

    export_archive(_store(), reference, path)
    click.echo(str(path))


@image.command()
def prune() -> None:
    """Remove the layers that no image and no container uses."""
    from migrate.images.wholetree import forget_shared
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import load_all
    from migrate.runtime.storage import SHARED

    used = {layer for record in load_all(Paths.from_environment()) for layer in record.layers}
    freed = _store().prune(used)
    with _store().hold(exclusive=True):
        forget_shared(_store().root / SHARED)
    click.echo(f"{human_size(freed)} freed")
