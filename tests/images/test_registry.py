"""Images go to a real registry and come back, over TLS, with both ways of authentication."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.errors import HostNotReady, UsageError
from migrate.images.errors import (
    ImageArchiveBad,
    ImageNameBad,
    LayerDigestMismatch,
    RegistryDenied,
    RegistryFailed,
)
from migrate.images.exporting import export_layout
from migrate.images.importing import import_rootfs
from migrate.images.model import Image, image_from_document, new_document
from migrate.images.registry import Reference, pull, push
from migrate.images.registry_access import Access
from migrate.images.store import Store
from tests.engine import eventually
from tests.evacuate.store.certificates import Authority
from tests.images.registryserver import (
    CREDENTIALS,
    Registry,
    passwords,
    serving,
    token_server,
)

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def authority(place: Path) -> Authority:
    return Authority(place / "authority")


@pytest.fixture(scope="module")
def registry(place: Path, authority: Authority) -> Iterator[Registry]:
    """With TLS and basic authentication."""
    (place / "basic").mkdir()
    auth = passwords(place / "basic/htpasswd")
    with serving(place / "basic", tls=authority, auth=auth) as served:
        yield served


@pytest.fixture(scope="module")
def here(place: Path) -> tuple[Store, Image]:
    """A store with an image of two layers, both of some size."""
    store = Store(place / "here")
    for name in ("bottom", "top"):
        (place / name).mkdir()
        (place / name / name).write_bytes(os.urandom(300_000))
    layers = [import_rootfs(store, place / name).diff_ids[0] for name in ("bottom", "top")]
    document = new_document(layers, {"Cmd": ["run"], "Labels": {"a": "b"}})
    return store, store.put_image(image_from_document(document, ("shop:1",)))


def access(registry: Registry, credentials: str = CREDENTIALS) -> Access:
    return Access(registry.host, credentials, authority=registry.authority)


def test_there_and_back(registry: Registry, here: tuple[Store, Image], tmp_path: Path) -> None:
    store, image = here
    reference = Reference.parse(f"{registry.host}/team/shop:1")
    push(store, "shop:1", reference, access(registry))
    push(store, "shop:1", reference, access(registry))  # nothing is sent a second time
    assert eventually(lambda: registry.requests('"PUT /v2/team/shop/blobs/uploads/') == 3)
    there = Store(tmp_path / "there")
    told: list[tuple[int, int]] = []
    pulled = pull(there, reference, access(registry), progress=lambda *n: told.append(n))
    assert (pulled.id, pulled.diff_ids, pulled.config) == (image.id, image.diff_ids, image.config)
    assert pulled.names == (f"{registry.host}/team/shop:1",)
    assert (there.layer_directory(image.diff_ids[1]) / "top").stat().st_size == 300_000
    assert list((there.root / "tmp").iterdir()) == []
    digest = _digest(registry, "team/shop", "1")
    by_digest = Reference.parse(f"docker://{registry.host}/team/shop@{digest}")
    assert pull(there, by_digest, access(registry), "called:so").id == image.id
    assert "called:so" in there.resolve("called:so").names


def _digest(registry: Registry, name: str, tag: str) -> str:
    link = f"docker/registry/v2/repositories/{name}/_manifests/tags/{tag}/current/link"
    return (registry.directory / "blobs" / link).read_text()


def test_layers_that_are_here_are_not_fetched(
    registry: Registry, here: tuple[Store, Image], place: Path, tmp_path: Path
) -> None:
    store, image = here
    reference = Reference.parse(f"{registry.host}/sharing:1")
    push(store, "shop:1", reference, access(registry))
    there = Store(tmp_path / "there")
    with store.open_layer_tar(image.diff_ids[0]) as tar:
        there.add_layer(tar)
    written = (there.layer_directory(image.diff_ids[0])).stat().st_ino
    pulled = pull(there, reference, access(registry))
    assert pulled.id == image.id
    blob = store.layer_record(image.diff_ids[0]).blob_digest
    other = store.layer_record(image.diff_ids[1]).blob_digest
    assert eventually(lambda: registry.requests(f'"GET /v2/sharing/blobs/{other}') == 1)
    assert registry.requests(f'"GET /v2/sharing/blobs/{blob}') == 0
    assert (there.layer_directory(image.diff_ids[0])).stat().st_ino == written
    pull(there, reference, access(registry))  # all of it is here
    assert registry.requests(f'"GET /v2/sharing/blobs/{other}') == 1


def test_who_is_refused_and_why(
    registry: Registry, here: tuple[Store, Image], tmp_path: Path
) -> None:
    store, _image = here
    there = Store(tmp_path / "there")
    reference = Reference.parse(f"{registry.host}/refused:1")
    with pytest.raises(RegistryDenied):
        pull(there, reference, access(registry, ""))
    with pytest.raises(RegistryDenied):
        push(store, "shop:1", reference, access(registry, "tester:wrong"))
    with pytest.raises(RegistryFailed, match="has no"):
        pull(there, reference, access(registry))
    with pytest.raises(RegistryFailed) as error:
        pull(there, reference, Access(registry.host, CREDENTIALS))
    assert "--ca" in error.value.mend
    with pytest.raises(RegistryFailed):
        pull(there, Reference.parse("127.0.0.1:1/none"), Access("127.0.0.1:1"))
    with pytest.raises(UsageError):
        pull(there, reference, Access(registry.host, "a:b", auth_file=tmp_path))
    for bad in ("shop", "team/shop:1", f"{registry.host}/Shop", f"{registry.host}/a@sha256:12",
                f"{registry.host}/a:1@sha256:{'0' * 64}x", "-x/y.z", "docker://"):  # fmt: skip
        with pytest.raises(ImageNameBad):
            Reference.parse(bad)
    digested = Reference.parse(f"{registry.host}/a:1@sha256:{'0' * 64}")
    with pytest.raises(ImageNameBad):
        push(store, "shop:1", digested, access(registry))
    assert there.images() == []
    assert list((there.root / "tmp").iterdir()) == []


def test_no_verification_and_an_auth_file(
    registry: Registry, here: tuple[Store, Image], tmp_path: Path
) -> None:
    store, image = here
    reference = Reference.parse(f"{registry.host}/plain:1")
    login = ["skopeo", "login", "--authfile", tmp_path / "auth.json", "--tls-verify=false",
             "-u", "tester", "-p", CREDENTIALS.partition(":")[2], registry.host]  # fmt: skip
    subprocess.run(login, check=True, capture_output=True)
    lax = Access(registry.host, auth_file=tmp_path / "auth.json", tls_verify=False)
    push(store, "shop:1", reference, lax)
    assert pull(Store(tmp_path / "there"), reference, lax).id == image.id
    with serving(tmp_path / "http") as plain:
        reference = Reference.parse(f"{plain.host}/shop")
        with pytest.raises(RegistryFailed) as error:
            push(store, "shop:1", reference, Access(plain.host))
        assert "--tls-verify=false" in error.value.mend
        push(store, "shop:1", reference, Access(plain.host, tls_verify=False))


def test_bearer_tokens(
    place: Path, authority: Authority, here: tuple[Store, Image], tmp_path: Path
) -> None:
    store, image = here
    with (
        token_server(tmp_path / "tokens", authority) as auth,
        serving(tmp_path / "registry", tls=authority, auth=auth) as registry,
    ):
        reference = Reference.parse(f"{registry.host}/shop:1")
        with pytest.raises(RegistryDenied):
            push(store, "shop:1", reference, access(registry, ""))
        with pytest.raises(RegistryDenied):
            push(store, "shop:1", reference, access(registry, "tester:wrong"))
        push(store, "shop:1", reference, access(registry))
        assert pull(Store(tmp_path / "there"), reference, access(registry)).id == image.id


def test_a_registry_that_lies_about_a_layer(
    registry: Registry, here: tuple[Store, Image], tmp_path: Path
) -> None:
    """Its manifest names another blob, whole and with the right digest, than the config means."""
    store, _image = here
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil/evil").write_text("evil")
    other = import_rootfs(store, tmp_path / "evil")
    layout, inside = tmp_path / "layout", store.root / "tmp/lying"
    export_layout(store, "shop:1", inside)
    shutil.copytree(inside, layout)
    shutil.rmtree(inside)
    record = store.layer_record(other.diff_ids[0])
    shutil.copyfile(
        store.layer_blob_path(other.diff_ids[0]), layout / f"blobs/sha256/{record.blob_digest[7:]}"
    )
    index = json.loads((layout / "index.json").read_text())
    manifest_file = layout / f"blobs/sha256/{index['manifests'][0]['digest'][7:]}"
    manifest = json.loads(manifest_file.read_text())
    manifest["layers"][1] |= {"digest": record.blob_digest, "size": record.blob_size}
    data = json.dumps(manifest).encode()
    digest = hashlib.sha256(data).hexdigest()
    (layout / f"blobs/sha256/{digest}").write_bytes(data)
    index["manifests"][0] |= {"digest": f"sha256:{digest}", "size": len(data)}
    (layout / "index.json").write_text(json.dumps(index))
    command = ["skopeo", "--insecure-policy", "copy", "-q", f"oci:{layout}",
               f"docker://{registry.host}/lying:1", "--dest-creds", CREDENTIALS,
               "--dest-tls-verify=false"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    there = Store(tmp_path / "there")
    with pytest.raises(LayerDigestMismatch):
        pull(there, Reference.parse(f"{registry.host}/lying:1"), access(registry))
    assert there.images() == []


@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
def test_a_registry_whose_disk_is_damaged(
    registry: Registry, here: tuple[Store, Image], tmp_path: Path, part: str
) -> None:
    store, image = here
    reference = Reference.parse(f"{registry.host}/damaged-{part}:1")
    push(store, "shop:1", reference, access(registry))
    digest = {
        "manifest": _digest(registry, f"damaged-{part}", "1"), "config": image.id,
        "layer": store.layer_record(image.diff_ids[1]).blob_digest,
    }[part]  # fmt: skip
    hexadecimal = digest.removeprefix("sha256:")
    kept = "blobs/docker/registry/v2/blobs/sha256"
    blob = registry.directory / kept / hexadecimal[:2] / hexadecimal / "data"
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    there = Store(tmp_path / "there")
    manifest = _digest(registry, f"damaged-{part}", "1")
    exact = Reference.parse(f"{registry.host}/damaged-{part}@{manifest}")
    try:
        with pytest.raises((RegistryFailed, LayerDigestMismatch, ImageArchiveBad)):
            pull(there, exact, access(registry))
    finally:
        blob.write_bytes(whole)
    assert there.images() == []
    assert list((there.root / "tmp").iterdir()) == []
    assert pull(there, reference, access(registry)).id == image.id


def test_without_skopeo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostNotReady, match="registries"):
        pull(Store(tmp_path / "s"), Reference.parse("127.0.0.1:1/x"), Access("127.0.0.1:1"))
