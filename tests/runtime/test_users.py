from __future__ import annotations

import os

import pytest

from migrate.runtime.errors import SpecInvalid
from migrate.runtime.users import User, look_up
from tests.rootfs import GROUP, PASSWD


@pytest.fixture
def root(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


def test_names_numbers_and_groups(root):
    assert look_up(root, "alice") == User(1000, 1000, (50,), "/home/alice")
    assert look_up(root, "1000") == look_up(root, "alice")
    assert look_up(root, "alice:staff") == User(1000, 50, (), "/home/alice")
    assert look_up(root, "5:6") == User(5, 6)
    assert look_up(root, "0").home == "/root"


@pytest.mark.parametrize("wanted", ["bob", "alice:nogroup", "99999999999", "alice:4294967295"])
def test_what_is_not_there_is_refused(root, wanted):
    with pytest.raises(SpecInvalid):
        look_up(root, wanted)


def test_no_link_leads_out_of_the_root(root, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "passwd"
    outside.write_text("mallory:x:0:0::/:/bin/sh\n")
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to(outside)
    with pytest.raises(SpecInvalid):
        look_up(root, "mallory")
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to("../../../../../../etc/real")
    (root / "etc/real").write_text(PASSWD)
    assert look_up(root, "alice").user_id == 1000


def test_a_fifo_does_not_hang_and_garbage_is_passed_over(root):
    (root / "etc/passwd").unlink()
    os.mkfifo(root / "etc/passwd")
    assert look_up(root, "12") == User(12, 0)
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").write_bytes(b"\xff\xfe:::\n\n:::::::\nalice:x:1:2:::\n")
    assert look_up(root, "alice") == User(1, 2, (50,))
