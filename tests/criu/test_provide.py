from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from migrate.criu import featurecache, provide
from migrate.criu.errors import CriuMissing, CriuProbeFailed
from migrate.criu.probe import probe, version


def test_without_a_record_the_error_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(CriuMissing, match="make setup"):
        provide.criu_binary()


@pytest.mark.parametrize("text", ["", "{", '{"path": 3}', '{"path":"/no/such","version":"1"}'])
def test_a_damaged_record_counts_as_none(tmp_path, monkeypatch, text):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "criu").mkdir()
    (tmp_path / "criu/chosen.json").write_text(text)
    assert provide.read_chosen() is None


def test_a_program_that_is_not_criu_fails_the_probe():
    assert version(Path("/bin/false")) == ""
    if os.geteuid() == 0:
        verdict = probe(Path("/bin/false"))
        assert not verdict.passed
        assert "dump failed" in verdict.cause


@pytest.mark.root
@pytest.mark.criu
def test_the_chosen_criu_passes_the_probe():
    assert probe(provide.criu_binary()).passed
    import pycriu

    assert pycriu.criu


@pytest.mark.root
@pytest.mark.criu
def test_the_feature_cache_is_made_once(tmp_path):
    criu, cache = provide.criu_binary(), tmp_path / "criu.kdat"
    assert featurecache.prime(criu, cache)
    assert cache.stat().st_size > 100
    assert not featurecache.prime(criu, cache)
    cache.with_name("criu.kdat.migrate").write_text("another boot")
    assert featurecache.prime(criu, cache)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["criu.kdat", "criu.kdat.migrate"]


@pytest.mark.root
def test_no_feature_cache_from_a_program_that_makes_none(tmp_path):
    with pytest.raises(CriuProbeFailed):
        featurecache.prime(Path("/bin/false"), tmp_path / "criu.kdat")
