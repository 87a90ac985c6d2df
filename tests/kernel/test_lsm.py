"""Of files as the kernel writes them: this machine's may have no security module."""

import os
from pathlib import Path

import pytest

from migrate.kernel import lsm


def test_the_module_is_found_where_it_has_its_files(tmp_path: Path) -> None:
    assert lsm.module(str(tmp_path)) == lsm.NONE
    assert lsm.loaded_profiles(str(tmp_path)) == ()
    (tmp_path / "fs/selinux").mkdir(parents=True)
    assert lsm.module(str(tmp_path)) == lsm.SELINUX
    place = tmp_path / "kernel/security/apparmor"
    place.mkdir(parents=True)
    (place / "profiles").write_text("/usr/sbin/x (enforce)\nweb (complain)\nweb//child (enforce)\n")
    assert lsm.module(str(tmp_path)) == lsm.APPARMOR
    assert lsm.loaded_profiles(str(tmp_path)) == ("/usr/sbin/x", "web", "web//child")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("unconfined\n", ()), ("web (enforce)\n", ("web",)), ("", ()),
        ("a//&b (complain)\n", ("a", "b")), ("unconfined//&b (enforce)\n", ("b",)),
        ("system_u:system_r:container_t:s0:c1,c2\0", ("system_u:system_r:container_t:s0:c1,c2",)),
    ],
)  # fmt: skip
def test_labels_are_told_without_their_mode(
    tmp_path: Path, content: str, found: tuple[str, ...]
) -> None:
    (tmp_path / "7/attr").mkdir(parents=True)
    (tmp_path / "7/attr/current").write_text(content)
    assert lsm.labels([7, 8], str(tmp_path)) == found


@pytest.mark.skipif(lsm.module() != lsm.NONE, reason="this kernel has a security module")
def test_a_kernel_without_a_module_labels_nothing() -> None:
    assert lsm.labels([os.getpid()]) == ()
