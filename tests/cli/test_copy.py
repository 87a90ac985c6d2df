"""`migrate cp`: both ways, running or stopped, and nothing reached outside of the container."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.engine import Engine, eventually

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def box(engine: Engine) -> str:
    """A container that runs and does nothing."""
    engine.detached("--name", "box", "-v", "kept:/data", "sleep", "3000")
    engine.ok("exec", "box", "sh", "-c", "mkdir -p /srv/real; ln -s /srv/real /srv/link")
    return "box"


def said(engine: Engine, script: str, name: str = "box") -> str:
    return engine.ok("exec", name, "sh", "-c", script)


def make_tree(root: Path) -> Path:
    (root / "sub/deep").mkdir(parents=True)
    (root / "one").write_text("one")
    (root / "sub/two").write_text("two")
    os.link(root / "one", root / "sub/deep/linked")
    (root / "sub/way").symlink_to("../one")
    (root / "sub/two").chmod(0o640)
    os.chown(root / "sub/two", 1000, 1000)
    os.utime(root / "one", ns=(1, 1_500_000_000_123_456_789))
    with (root / "holes").open("wb") as file:
        file.truncate(50 << 20)
        file.seek(30 << 20)
        file.write(b"data")
    return root


def test_a_tree_goes_in_and_comes_out_as_it_was(engine: Engine, box: str, tmp_path: Path):
    tree = make_tree(tmp_path / "tree")
    engine.ok("cp", tree, "box:/srv")  # into a directory that is there
    assert said(engine, "cat /srv/tree/one /srv/tree/sub/way /srv/tree/sub/two") == "oneonetwo"
    assert said(engine, "stat -c %u:%g:%a /srv/tree/sub/two") == "0:0:640"
    engine.ok("cp", "-a", tree, "box:/srv/renamed")  # as a new name, owners kept
    assert said(engine, "stat -c %u:%a:%h /srv/renamed/sub/two /srv/renamed/one").split() == [
        "1000:640:1", "0:644:2",
    ]  # fmt: skip
    engine.ok("cp", f"{tree}/.", "box:/srv/link")  # its contents, through a link
    assert said(engine, "cat /srv/real/one") == "one"
    engine.ok("cp", "-a", "box:/srv/renamed", tmp_path / "back")
    assert subprocess.run(["diff", "-r", tree, tmp_path / "back"], check=False).returncode == 0
    assert (tmp_path / "back/one").stat().st_mtime_ns == 1_500_000_000_123_456_789
    assert (tmp_path / "back/one").stat().st_nlink == 2
    assert (tmp_path / "back/holes").stat().st_blocks * 512 < 1 << 20
    assert os.readlink(tmp_path / "back/sub/way") == "../one"


def test_single_files_links_and_streams(engine: Engine, box: str, tmp_path: Path):
    (tmp_path / "file").write_text("content")
    engine.ok("cp", tmp_path / "file", "box:/srv/real/")
    engine.ok("cp", tmp_path / "file", "box:/srv/called")
    engine.ok("cp", tmp_path / "file", "box:/data/x")  # into the volume
    assert (engine.paths.volumes / "kept/x").read_text() == "content"
    said(engine, "ln -s /srv/called /srv/pointer; chmod 4755 /srv/called")
    engine.ok("cp", "box:/srv/pointer", tmp_path / "as-link")
    assert os.readlink(tmp_path / "as-link") == "/srv/called"
    engine.ok("cp", "-L", "box:/srv/pointer", tmp_path / "followed")
    assert (tmp_path / "followed").read_text() == "content"
    assert stat.S_IMODE((tmp_path / "followed").stat().st_mode) == 0o755  # no set-id bits
    done = engine.call("cp", "box:/srv/real", "-", text=False)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert "real/file" in tar.getnames()
    packed = tmp_path / "stream.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(tmp_path / "file", "fresh/.wh.kept")
    with packed.open("rb") as stream:
        assert engine.call("cp", "-", "box:/srv", stdin=stream).returncode == 0
    assert said(engine, "cat /srv/fresh/.wh.kept") == "content"


def test_a_stopped_container_and_its_volume(engine: Engine, tmp_path: Path):
    (tmp_path / "file").write_text("late")
    engine.detached("--name", "s", "-v", "vs:/data", "sleep", "100")
    engine.ok("stop", "-t", "0", "s")
    engine.ok("cp", tmp_path / "file", "s:/data/x")
    engine.ok("cp", tmp_path / "file", "s:/root/y")
    assert (engine.paths.volumes / "vs/x").read_text() == "late"
    engine.ok("cp", "s:/root/y", tmp_path / "y")
    engine.ok("start", "s")
    assert said(engine, "cat /data/x /root/y", "s") == "latelate"
    engine.ok("pause", "s")
    engine.ok("cp", "s:/root/y", tmp_path / "again")
    engine.ok("rm", "-f", "s")


def test_what_does_not_fit_is_refused(engine: Engine, box: str, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir/real").mkdir(parents=True)
    (tmp_path / "dir/real/file").mkdir()
    for words, code in (
        (("box:/nothing", tmp_path), 53), ((tmp_path / "nothing", "box:/"), 53),
        ((tmp_path / "file", "box:/none/"), 53), ((tmp_path / "file", "box:/none/x"), 53),
        ((tmp_path / "dir", "box:/etc/passwd"), 53), (("box:/etc/passwd/", tmp_path), 53),
        ((tmp_path / "file", tmp_path / "y"), 2), (("box:/a", "box:/b"), 2),
        (("box:", tmp_path), 2), (("nobody:/x", tmp_path), 35),
    ):  # fmt: skip
        engine.fails("cp", *words, code=code)
    said(engine, "mkdir -p /both/real/sub; touch /both/real/file")
    engine.fails("cp", f"{tmp_path}/dir/.", "box:/both", code=53)
    said(engine, "mkdir /dev-out; mknod /dev-out/d b 254 0; ln -s / /dev-out/root")
    assert "device" in engine.fails("cp", "box:/dev-out", tmp_path / "out", code=53)


def test_links_of_the_container_lead_nowhere_on_the_host(engine: Engine, box: str, tmp_path: Path):
    (tmp_path / "secret").write_text("the host's")
    (tmp_path / "mine").write_text("mine")
    said(engine, f"ln -s {tmp_path} /away; ln -s {tmp_path}/secret /s; ln -s ../../../.. /up; "
                 "ln -s /proc/1/root/../../.. /magic")  # fmt: skip
    for path in ("/away/secret", "/s/", "/up/../.."):
        engine.call("cp", "-L", f"box:{path}", tmp_path / "got")
        assert not (tmp_path / "got").is_file()
    engine.fails("cp", "-L", "box:/s", tmp_path / "got", code=53)
    engine.fails("cp", tmp_path / "mine", "box:/away/new", code=53)
    engine.call("cp", tmp_path / "mine", "box:/up/landed")
    assert said(engine, "cat /landed") == "mine"
    assert not Path("/landed").exists()
    # What comes out is laid below the directory, through no link that came with it.
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        link = tarfile.TarInfo("out/escape")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
    (tmp_path / "links.tar").write_bytes(packed.getvalue())
    with (tmp_path / "links.tar").open("rb") as stream:
        engine.call("cp", "-", "box:/srv", stdin=stream)
    (tmp_path / "in/escape").mkdir(parents=True)
    (tmp_path / "in/escape/evil").write_text("evil")
    target = tmp_path / "target"
    target.mkdir()
    (target / "escape").symlink_to(tmp_path)
    engine.ok("cp", f"{tmp_path}/in/.", "box:/srv/in2")
    engine.call("cp", "box:/srv/in2/.", target)
    assert not (tmp_path / "evil").exists()


SWAP = """
mkdir -p /race/a /race/b; cd /race
while :; do
  mv a b/was 2>/dev/null; ln -s {victim} a 2>/dev/null; rm -f a; mv b/was a 2>/dev/null
  for f in a/*; do rm -rf $f; ln -s {victim}/secret $f; rm -f $f; done 2>/dev/null
done
"""


def test_names_swapped_for_links_while_it_copies(engine: Engine, tmp_path: Path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "secret").write_text("untouched")
    (victim / "secret").chmod(0o600)
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(60):
        (tree / f"f{number}").write_text("evil")
        (tree / f"f{number}").chmod(0o777)
        (tree / f"d{number}").mkdir()
        (tree / f"d{number}/inner").write_text("evil")
    engine.detached("--name", "racer", "sh", "-c", SWAP.format(victim=victim))
    assert eventually(lambda: engine.call("exec", "racer", "ls", "/race").stdout != "")
    for turn in range(8):
        engine.call("cp", f"{tree}/.", "racer:/race/a")
        engine.call("cp", "racer:/race", tmp_path / f"out{turn}")
    assert [p.name for p in victim.iterdir()] == ["secret"]
    assert (victim / "secret").read_text() == "untouched"
    assert stat.S_IMODE((victim / "secret").stat().st_mode) == 0o600
    for found in tmp_path.glob("out*/**/*"):
        assert found.is_symlink() or not found.is_file() or found.read_text() != "untouched"
    engine.ok("rm", "-f", "racer")
    for turn in range(8):
        shutil.rmtree(tmp_path / f"out{turn}", ignore_errors=True)
