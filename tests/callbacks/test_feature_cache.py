"""Features of reals on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from callbacks.feature_cache import FeatureCache, default_directory

FEATURES = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))


def test_features_come_back_bit_for_bit_and_leave_nothing_else(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "a" / "b")
    assert cache.load("digits-val-0", 7) is None
    cache.save("digits-val-0", FEATURES)
    kept = cache.load("digits-val-0", 7)
    assert kept is not None
    assert torch.equal(kept, FEATURES)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["digits-val-0.npz"]


def test_without_a_directory_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cache = FeatureCache(None)
    cache.save("key", FEATURES)
    assert cache.load("key", 7) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["cut off", "flipped", "packed", "locked", "another kind", "foreign", "fewer rows"])
def test_what_is_damaged_or_foreign_is_not_used_and_replaced(tmp_path: Path, damage: str) -> None:
    cache = FeatureCache(tmp_path)
    cache.save("key", FEATURES)
    path = tmp_path / "key.npz"
    content = bytearray(path.read_bytes())
    if damage == "cut off":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        position = content.find(FEATURES.numpy().tobytes()[:16]) + 5
        content[position] ^= 1
        path.write_bytes(content)
    elif damage in ("packed", "locked"):  # a bit of the archive's list of files: of the method, of encryption
        content[content.find(b"PK\x01\x02") + {"packed": 10, "locked": 8}[damage]] ^= 1
        path.write_bytes(content)
    elif damage == "another kind":
        path.write_bytes(b"not an archive")
    elif damage == "foreign":
        with open(path, "wb") as file:
            np.savez(file, features=FEATURES.numpy(), key=np.array("another key"))
    rows = 8 if damage == "fewer rows" else 7
    with pytest.warns(UserWarning, match=r"key\.npz are (damaged|not those asked for).* computed again"):
        assert cache.load("key", rows) is None
    cache.save("key", FEATURES)
    kept = cache.load("key", 7)
    assert kept is not None
    assert torch.equal(kept, FEATURES)


def test_a_disk_that_refuses_costs_a_warning_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="could not be kept"):
        FeatureCache(tmp_path / "file").save("key", FEATURES)


def test_where_features_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_MODULES_CACHE", "/somewhere")
    assert default_directory() == Path("/somewhere/features")
    monkeypatch.setenv("GAN_MODULES_CACHE", "")
    assert default_directory() is None
    monkeypatch.delenv("GAN_MODULES_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert default_directory() == Path("/cache/gan-modules/features")
