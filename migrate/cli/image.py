"""migrate image: import, list, inspect, export and remove the images of this host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrate.cli.output import print_json, print_table
from migrate.cli.progress import byte_progress
from migrate.cli.sizes import human_size
from migrate.cli.state import state_directory

if TYPE_CHECKING:
    from migrate.images.model import Image
    from migrate.images.registry import Reference
    from migrate.images.registry_access import Access
    from migrate.images.store import Store

_SHORT_ID = 12
_SCHEME = "docker://"


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


_ACCESS_OPTIONS = (
    click.option("--creds", metavar="USER[:PASSWORD]",
                 help="Who asks; a password that is not given is asked for."),
    click.option("--authfile", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="Credentials in a file, as 'podman login' and 'docker login' write it."),
    click.option("--tls-verify", type=bool, default=True, metavar="BOOLEAN",
                 help="Whether the registry must prove who it is (true); false allows plain HTTP."),
    click.option("--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="Trust the certificates of this authority (PEM)."),
)  # fmt: skip


def _access_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_ACCESS_OPTIONS):
        function = option(function)
    return function


def _access(reference: Reference, given: dict[str, Any]) -> Access:
    from migrate.images.registry_access import Access

    credentials = given["creds"] or ""
    if credentials and ":" not in credentials:
        password = click.prompt(f"Password of {credentials}", hide_input=True, err=True)
        credentials = f"{credentials}:{password}"
    host = reference.repository.partition("/")[0]
    return Access(host, credentials, given["authfile"], given["tls_verify"], given["ca"])


@image.command("import")
@click.argument("path")
@click.argument("name", required=False)
@click.option("--rootfs", is_flag=True, help="PATH is a directory holding a root file system.")
@_access_options
def import_(path: str, name: str | None, rootfs: bool, **given: Any) -> None:
    """Import an image from PATH and call it NAME.

    PATH is an OCI layout (tar or directory), the output of 'docker save', or a tar of a root file
    system; plain or compressed with gzip, zstd or xz. Without NAME the archive's own name is used.
    docker://REF is fetched from a registry, as 'migrate image pull REF' does; the other options are
    for that.
    """
    from migrate.images.importing import import_archive, import_rootfs

    if path.startswith(_SCHEME):
        _pull(path, name, given)
        return
    if not Path(path).exists():
        raise click.BadParameter(f"there is no '{path}'", param_hint="PATH")
    if rootfs:
        imported = import_rootfs(_store(), Path(path), name)
    else:
        with byte_progress("importing") as progress:
            imported = import_archive(_store(), Path(path), name, progress)
    click.echo(imported.names[0] if imported.names else imported.id)


@image.command("pull")
@click.argument("reference", metavar="REF")
@click.argument("name", required=False)
@_access_options
def pull_(reference: str, name: str | None, **given: Any) -> None:
    """Fetch the image REF from its registry, and call it NAME if it is given.

    REF is HOST[:PORT]/NAME[:TAG] or HOST[:PORT]/NAME@sha256:DIGEST. Layers that are here are not
    fetched again. It is done by skopeo, which must be installed; who has logged in with podman or
    docker needs no --creds.

    \b
    Example: migrate image pull registry.example.org/shop:1.2
    """
    _pull(reference, name, given)


def _pull(text: str, name: str | None, given: dict[str, Any]) -> None:
    from migrate.images.registry import Reference, pull

    reference = Reference.parse(text)
    with byte_progress("fetching") as progress:
        pulled = pull(_store(), reference, _access(reference, given), name, progress)
    wanted = name or reference.name
    click.echo(next((n for n in pulled.names if wanted and n.startswith(wanted)), pulled.id))


@image.command("push")
@click.argument("reference", metavar="IMAGE")
@click.argument("target", metavar="[REF]", required=False)
@_access_options
def push_(reference: str, target: str | None, **given: Any) -> None:
    """Send IMAGE to a registry as REF, or as it is called. Layers that are there are not sent.

    \b
    Example: migrate image push shop:1.2 registry.example.org/shop:1.2
    """
    from migrate.images.registry import Reference, push

    parsed = Reference.parse(target or reference)
    with byte_progress("sending") as progress:
        push(_store(), reference, parsed, _access(parsed, given), progress)
    click.echo(str(parsed))


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
