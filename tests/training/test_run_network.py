"""The network of a run that goes on: its graph is in the run where the weights that it started from are gone."""

import pytest

from keras_reid.training.run_network import starting_weights
from keras_reid.training.settings import Settings


@pytest.mark.parametrize("there", [False, True])
def test_weights_that_are_gone_give_way_to_the_runs_own(tmp_path, there):
    weights, own = tmp_path / "net.safetensors", tmp_path / "last.keras"
    if there:
        weights.touch()
    assert starting_weights(str(weights), own) == str(weights)  # nothing saved yet: reading it names what is missing
    own.touch()
    assert starting_weights(str(weights), own) == str(weights if there else own)
    assert starting_weights("none", own) == "none" and starting_weights("imagenet", own) == "imagenet"
    assert starting_weights(str(weights), None) == str(weights)


def test_run_flags_hold_the_absolute_path_of_weights_that_are_gone(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = [Settings(backbone_weights=name).as_text()["backbone_weights"] for name in ("none", "imagenet", "a.keras")]
    assert text == ["none", "imagenet", str(tmp_path / "a.keras")]
