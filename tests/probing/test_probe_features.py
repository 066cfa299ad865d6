"""The features of a probe: computed once, kept, and never taken from a damaged or another cache."""

import hashlib

import numpy as np
import pytest
from small_runs import coloured, model_folder
from test_linear_probe import FEW, data, start, watched

from skinxai.errors import NonFiniteOutputError, OutOfMemoryError
from skinxai.model_folders.tensors import load_arrays, save_arrays
from skinxai.probing import feature_cache, frozen_features, probe
from skinxai.probing.frozen_network import FrozenNetwork

__all__ = ["data", "start", "watched"]  # fixtures
pytestmark = pytest.mark.usefixtures("small_networks")


def test_features_are_computed_once(data, start, tmp_path, watched) -> None:
    train, val = data
    one = probe(train, val, init_weights=start, cache=tmp_path, **FEW)
    assert one.computed == 45 and one.cached == 0
    watched.clear()
    two = probe(train, val, init_weights=start, cache=tmp_path, **FEW)
    assert two.computed == 0 and two.cached == 45 and watched == [1]  # the drawn picture
    assert two.to_dict() == one.to_dict() | {"computed": 0, "cached": 45}


def test_another_image_weight_or_view_is_noticed(data, start, tmp_path) -> None:
    train, val = data
    probe(train, val, init_weights=start, cache=tmp_path / "kept", **FEW)
    other = coloured(tmp_path / "other", 5, 3)  # as many images, of other pixels
    assert probe(train, other, init_weights=start, cache=tmp_path / "kept", **FEW).computed == 15
    weights = str(model_folder(tmp_path / "weights", seed=4))
    assert probe(train, val, init_weights=weights, cache=tmp_path / "kept", **FEW).computed == 45
    more = probe(train, val, init_weights=start, cache=tmp_path / "kept", flips=True, **FEW)
    assert more.computed == 30  # four views of the training images only
    size = probe(
        train, val, init_weights=start, cache=tmp_path / "kept", image_size=(48, 64), **FEW
    )
    assert size.computed == 45


@pytest.mark.parametrize("damage", ["cut", "changed", "renamed"])
def test_a_damaged_cache_is_not_read(damage, data, start, tmp_path, capsys) -> None:
    train, val = data
    one = probe(train, val, init_weights=start, cache=tmp_path, **FEW)
    path = max(tmp_path.glob("*.safetensors"), key=lambda each: each.stat().st_size)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[:-100])
    elif damage == "changed":
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        path.rename(path.with_name(f"{path.name[:17]}{'0' * 32}.safetensors"))
    two = probe(train, val, init_weights=start, cache=tmp_path, **FEW)
    assert two.computed == 30 and "are not used" in capsys.readouterr().err
    assert two.linear == one.linear


def test_features_that_are_no_numbers_are_refused_and_not_taken_from_the_cache(
    data, start, tmp_path, monkeypatch, capsys
) -> None:
    train, val = data
    one = probe(train, val, init_weights=start, cache=tmp_path, **FEW)
    path = max(tmp_path.glob("*.safetensors"), key=lambda each: each.stat().st_size)
    arrays = load_arrays(path.read_bytes(), path.name)
    arrays["features"] = arrays["features"].copy()
    arrays["features"][3, 0, 1] = np.nan
    forged = save_arrays(arrays)
    path.unlink()
    name = f"{path.name[:17]}{hashlib.sha256(forged).hexdigest()[:32]}.safetensors"
    (tmp_path / name).write_bytes(forged)
    two = probe(train, val, init_weights=start, cache=tmp_path, **FEW)
    assert two.computed == 30 and two.linear == one.linear
    assert "it holds other arrays than features" in capsys.readouterr().err
    own = FrozenNetwork._features

    def overflows(self, items, views):
        rows = own(self, items, views)
        rows[np.arange(len(rows)) == 4] = np.inf
        return rows

    monkeypatch.setattr(FrozenNetwork, "_features", overflows)
    with pytest.raises(NonFiniteOutputError, match=r"but those of .*blue-04\.png are not"):
        probe(train, val, init_weights=start, **FEW)


def test_a_kill_leaves_what_was_computed(data, start, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(feature_cache, "ROWS", 8)
    own, passes = FrozenNetwork.features, []

    def killed(self, items, views):
        passes.append(1)
        if len(passes) == 4:  # the drawn picture, and two batches of 8
            raise KeyboardInterrupt
        return own(self, items, views)

    with monkeypatch.context() as patch:
        patch.setattr(FrozenNetwork, "features", killed)
        with pytest.raises(KeyboardInterrupt):
            probe(*data, init_weights=start, cache=tmp_path, batch_size=8, **FEW)
    found = probe(*data, init_weights=start, cache=tmp_path, batch_size=8, **FEW)
    assert found.cached == 16 and found.computed == 29
    assert found.linear == probe(*data, init_weights=start, batch_size=8, **FEW).linear


def test_features_that_do_not_fit_are_refused_first(data, start, monkeypatch, watched) -> None:
    monkeypatch.setattr(frozen_features, "BYTES_EACH", 2**40)
    with pytest.raises(OutOfMemoryError, match="45 images"):
        probe(*data, init_weights=start, **FEW)
    assert watched == [1]
