"""The store: layers once, images by name and id, pruning; archives in and out."""

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner

from migrate.cli.image import image as image_group
from migrate.errors import DiskFull
from migrate.images.diff import write_layer
from migrate.images.errors import (
    ImageArchiveBad,
    ImageInUse,
    ImageNameBad,
    ImageUnknown,
    LayerDigestMismatch,
    LayerMissing,
    LayerUnsafe,
)
from migrate.images.exporting import export_archive
from migrate.images.importing import import_archive, import_rootfs
from migrate.images.model import ARCHITECTURES, image_from_document, new_document
from migrate.images.store import Store
from tests.images.test_hostile import archive, entry
from tests.images.trees import describe

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    directory = tmp_path / "rootfs"
    (directory / "etc").mkdir(parents=True)
    (directory / "etc/name").write_text("box")
    (directory / "bin").symlink_to("usr/bin")
    return directory


def snapshot(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if not p.name.endswith(".lock")}


def docker_save(layers: list[bytes], name: str, tmp_path: Path) -> Path:
    """As Docker before 25 wrote it, a layer that occurs twice being a symlink."""
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = new_document(diff_ids, {"Cmd": ["/bin/sh"], "Env": ["A=1"]})
    out = tmp_path / "saved.tar"
    with tarfile.open(out, "w") as tar:
        names: list[str] = []
        for number, layer in enumerate(layers):
            info = tarfile.TarInfo(f"{number}/layer.tar")
            if layer in layers[:number]:
                info.type = tarfile.SYMTYPE
                info.linkname = f"../{layers.index(layer)}/layer.tar"
                tar.addfile(info)
            else:
                info.size = len(layer)
                tar.addfile(info, io.BytesIO(layer))
            names.append(info.name)
        manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": names}]
        for member, data in {
            "config.json": config,
            "manifest.json": json.dumps(manifest).encode(),
        }.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out


def test_layer_is_stored_once(store: Store) -> None:
    tar = archive(entry("a")).getvalue()
    diff_id = store.add_layer(io.BytesIO(gzip.compress(tar)))
    assert diff_id == f"sha256:{hashlib.sha256(tar).hexdigest()}"
    assert store.root.stat().st_mode & 0o777 == 0o700
    with store.open_layer_tar(diff_id) as stream:
        assert stream.read() == tar
    with store.open_layer_blob(diff_id) as blob:
        digest = hashlib.sha256(blob.read()).hexdigest()
    assert store.layer_record(diff_id).blob_digest == f"sha256:{digest}"
    before = store.layer_directory(diff_id).stat().st_ino
    assert store.add_layer(io.BytesIO(zstandard.compress(tar)), diff_id) == diff_id
    assert store.add_layer(io.BytesIO(tar)) == diff_id
    assert store.layer_directory(diff_id).stat().st_ino == before


def test_nothing_changes_on_failure(store: Store) -> None:
    store.add_layer(archive(entry("a")))
    before = snapshot(store.root)
    with pytest.raises(LayerDigestMismatch):
        store.add_layer(archive(entry("b")), "sha256:" + "0" * 64)
    with pytest.raises(LayerUnsafe):
        store.add_layer(archive(entry("b"), entry("../c")))
    with pytest.raises(ImageArchiveBad):
        store.add_layer(io.BytesIO(gzip.compress(archive(entry("b")).getvalue())[:60]))
    with pytest.raises(ImageArchiveBad):
        store.add_layer(archive(entry("b")), "sha256:../../../etc")
    assert snapshot(store.root) == before


def test_same_layer_from_many_threads(store: Store) -> None:
    tar = archive(entry("a"), data=b"x" * 100_000).getvalue()
    threads = [threading.Thread(target=store.add_layer, args=(io.BytesIO(tar),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.layers()) == 1
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_docker_save(store: Store, tmp_path: Path, pack) -> None:
    layer, other = archive(entry("a")).getvalue(), archive(entry("b")).getvalue()
    path = docker_save([layer, other, layer], "web/shop:1.2", tmp_path)
    path.write_bytes(pack(path.read_bytes()))
    seen: list[tuple[int, int]] = []
    image = import_archive(store, path, None, lambda done, total: seen.append((done, total)))
    assert image.names == ("web/shop:1.2",)
    assert image.config["Cmd"] == ["/bin/sh"]
    assert len(image.diff_ids) == 3
    assert len(store.layers()) == 2
    assert seen[-1][0] == seen[-1][1]


def test_damaged_archives(store: Store, tmp_path: Path) -> None:
    path = docker_save([archive(entry("a")).getvalue()], "a:1", tmp_path)
    good = path.read_bytes()
    for data in (b"", b"no tar at all" * 100, good[:2000], good.replace(b"diff_ids", b"diff_xxx")):
        path.write_bytes(data)
        with pytest.raises(ImageArchiveBad):
            import_archive(store, path, "a")
    path.write_bytes(good.replace(b"evil", b"good"))
    with pytest.raises(LayerDigestMismatch):
        import_archive(store, path, "a")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageArchiveBad):
        import_archive(store, tmp_path / "empty", "a")
    with pytest.raises(ImageNameBad):
        import_archive(store, path, "A b")
    assert store.images() == []


def test_export_and_import(store: Store, rootfs: Path, tmp_path: Path) -> None:
    image = import_rootfs(store, rootfs, "box")
    assert describe(store.layer_directory(image.diff_ids[0])) == describe(rootfs)
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    export_archive(store, "box", first)
    other = Store(tmp_path / "other")
    copy = import_archive(other, first)
    assert copy == image
    export_archive(other, copy.id, second)
    unpacked = tmp_path / "layout"
    unpacked.mkdir()
    subprocess.run(["tar", "-xf", second, "-C", unpacked], check=True)
    assert import_archive(other, unpacked, "again").names == ("again:latest", "box:latest")
    assert describe(other.layer_directory(image.diff_ids[0])) == describe(rootfs)


def test_index_for_several_machines(store: Store, tmp_path: Path) -> None:
    layer = archive(entry("a")).getvalue()
    layout = tmp_path / "layout"
    (layout / "blobs/sha256").mkdir(parents=True)

    def put(data: object) -> str:
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        digest = hashlib.sha256(raw).hexdigest()
        (layout / "blobs/sha256" / digest).write_bytes(raw)
        return f"sha256:{digest}"

    def manifest(variant: str) -> str:
        config = put(
            new_document([f"sha256:{hashlib.sha256(layer).hexdigest()}"], {"User": variant})
        )
        return put(
            {"config": {"digest": config}, "layers": [{"digest": put(gzip.compress(layer))}]}
        )

    machines = [
        {"digest": manifest(machine), "platform": {"os": "linux", "architecture": machine}}
        for machine in ("amd64", "arm64", "s390x")
    ]
    name = {"org.opencontainers.image.ref.name": "many:1"}
    index = {"manifests": [{"digest": put({"manifests": machines}), "annotations": name}]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    image = import_archive(store, layout)
    assert image.names == ("many:1",)
    assert image.config["User"] == ARCHITECTURES[platform.machine()]
    index["manifests"][0]["digest"] = put({"manifests": machines[2:] * 2})
    (layout / "index.json").write_text(json.dumps(index))
    with pytest.raises(ImageArchiveBad, match="linux/"):
        import_archive(store, layout)


def test_rootfs_tar_equals_rootfs(store: Store, rootfs: Path, tmp_path: Path) -> None:
    plain, packed = tmp_path / "r.tar", tmp_path / "r.tar.zst"
    with plain.open("wb") as out:
        diff_id = write_layer(rootfs, out, overlay=False)
    packed.write_bytes(zstandard.compress(plain.read_bytes()))
    assert import_archive(store, plain, "a").diff_ids == (diff_id,)
    assert import_archive(store, packed, "b").diff_ids == (diff_id,)
    assert import_rootfs(store, rootfs, "c").diff_ids == (diff_id,)


def test_names_ids_removal_and_prune(store: Store, rootfs: Path) -> None:
    first = import_rootfs(store, rootfs, "box")
    (rootfs / "more").write_text("x" * 10_000)
    second = import_rootfs(store, rootfs, "box")
    assert store.resolve("box").id == second.id
    assert store.resolve(first.id[7:20]).names == ()
    with pytest.raises(ImageUnknown):
        store.resolve("nobody")
    store.pin("container/1", second)
    with pytest.raises(ImageInUse):
        store.remove("box")
    store.remove(first.id)
    store.remove("box", force=True)
    assert store.images() == []
    assert store.prune(keep={first.diff_ids[0]}) == 0
    assert store.prune() > 0
    assert store.layers() == [second.diff_ids[0]]
    store.unpin("container/1")
    assert store.prune() > 0
    assert not store.layer_directory(second.diff_ids[0]).exists()
    with pytest.raises(LayerMissing):
        store.put_image(second)
    with pytest.raises(LayerMissing):
        store.pin("late", second)


def test_prune_clears_what_a_crash_left(store: Store, rootfs: Path) -> None:
    image = import_rootfs(store, rootfs, "box")
    (store.root / "tmp/deadbeef").mkdir(parents=True)
    half = store.layer_directory("sha256:" + "a" * 64)
    half.mkdir()
    assert not store.has_layer("sha256:" + "a" * 64)
    store.prune()
    assert not half.exists()
    assert not (store.root / "tmp/deadbeef").exists()
    assert store.has_layer(image.diff_ids[0])


def test_full_disk(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", small], check=True)
    try:
        store = Store(small / "store")
        with pytest.raises(DiskFull):
            store.add_layer(archive(entry("a"), data=b"x" * 1_000_000))
        assert store.layers() == []
        assert list((store.root / "tmp").iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_document_is_checked() -> None:
    for bad in (b"{}", b"[]", b"\xff", b'{"rootfs":{"diff_ids":["sha256:xyz"]}}'):
        with pytest.raises(ImageArchiveBad):
            image_from_document(bad)


def test_commands(tmp_path: Path, rootfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGRATE_STATE", str(tmp_path / "state"))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(image_group, list(arguments), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    assert run("import", "--rootfs", str(rootfs), "box:1") == "box:1\n"
    assert "box:1" in run("ls")
    run("export", "box:1", str(tmp_path / "box.tar"))
    assert json.loads(run("inspect", "box:1"))["names"] == ["box:1"]
    assert run("rm", "box:1") == "box:1\n"
    assert "freed" in run("prune")
    assert run("import", str(tmp_path / "box.tar")) == "box:1\n"
    assert json.loads(run("ls", "--json"))[0]["names"] == ["box:1"]


def test_what_skopeo_makes_of_an_image_is_the_same_image(store: Store, tmp_path: Path) -> None:
    layers = [archive(entry(name)).getvalue() for name in ("a", "b")]
    saved = docker_save(layers, "box:1", tmp_path)
    image = import_archive(store, saved)
    for target in (f"docker-archive:{tmp_path}/docker.tar:box:2", f"oci-archive:{tmp_path}/oci.tar",
                   f"oci:{tmp_path}/layout:box:2"):  # fmt: skip
        command = ["skopeo", "--insecure-policy", "copy", "-q", f"docker-archive:{saved}", target]
        subprocess.run(command, check=True, capture_output=True)
    for name in ("docker.tar", "oci.tar", "layout"):
        fresh = Store(tmp_path / f"store-{name}")
        assert import_archive(fresh, tmp_path / name, "again").diff_ids == image.diff_ids
        assert import_archive(store, tmp_path / name, f"again-{name}").diff_ids == image.diff_ids
    assert len(store.layers()) == 2  # never written twice
