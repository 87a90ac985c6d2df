from __future__ import annotations

from migrate.criu.mirror import Mirror, find_mirror

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def machine(root, code_name="bookworm", **files):
    for name, text in {"etc/os-release": f"VERSION_CODENAME={code_name}\n", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    keyring = root / KEYRING[1:]
    keyring.parent.mkdir(parents=True)
    keyring.touch()
    return find_mirror(root)


def test_deb822_with_comments_and_other_archives(tmp_path):
    found = machine(
        tmp_path,
        **{
            "etc/apt/sources.list.d/debian.sources": (
                "Types: deb\n# snapshot\nURIs: http://mirror.test/debian\n"
                "Suites: bookworm bookworm-updates\nComponents: main\n"
                f"Signed-By: {KEYRING}\n\n"
                "Types: deb\nURIs: http://mirror.test/debian-security\n"
                "Suites: bookworm-security\nComponents: main\n"
            ),
            "etc/apt/sources.list.d/another.list": "deb https://x.test/apt sdk-bookworm main\n",
        },
    )
    assert found == Mirror("http://mirror.test/debian", "bookworm", KEYRING)


def test_one_line_style(tmp_path):
    found = machine(
        tmp_path,
        "trixie",
        **{
            "etc/apt/sources.list": (
                "# deb http://old.test/debian trixie main\n"
                "deb-src http://m.test/debian trixie main\n"
                "deb [arch=amd64 signed-by=/k.gpg] http://vendor.test/apt trixie main\n"
                "deb http://m.test/debian/ trixie main contrib # ours\n"
            )
        },
    )
    assert found == Mirror("http://m.test/debian/", "trixie", KEYRING)


def test_a_disabled_entry_and_no_entry_at_all(tmp_path):
    text = "Enabled: no\nTypes: deb\nURIs: http://m.test/debian\nSuites: stable\nComponents: main\n"
    assert machine(tmp_path, **{"etc/apt/sources.list.d/d.sources": text}) is None
