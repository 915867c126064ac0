"""What a strategy means: whose identities of a batch are whose, what is refused before anything trains."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_reid import launch, train
from keras_reid.errors import ReidError
from keras_reid.models import build_embedder, rebuild_in_float32
from keras_reid.training.cluster import Cluster
from keras_reid.training.strategy import Team
from tests.conftest import train_arguments


def team(replicas, workers, rank):
    strategy = SimpleNamespace(num_replicas_in_sync=replicas, extended=SimpleNamespace(worker_devices=()))
    return Team(strategy, Cluster(tuple(f"h:{n}" for n in range(workers)), rank))


@pytest.mark.parametrize(
    ("replicas", "workers", "rank", "parts"),
    [
        (2, 1, 0, [(0, 9), (9, 18)]),
        (4, 2, 0, [(0, 4), (4, 9)]),  # 4.5 each
        (4, 2, 1, [(9, 13), (13, 18)]),
        (18, 18, 17, [(17, 18)]),
        (1, 1, 0, None),
    ],
)
def test_whole_identities_as_equally_as_they_can_be_shared(replicas, workers, rank, parts):
    assert team(replicas, workers, rank).parts(18) == parts


def test_too_few_identities_are_refused():
    with pytest.raises(ReidError, match="^identities_per_batch=3 for 4 replicas, expected at least 4"):
        team(4, 1, 0).parts(3)
    with pytest.raises(ReidError, match="expected at least 8: .* two to mine among them"):
        team(4, 1, 0).parts(7, least=2)


def test_alone_nothing_is_shared():
    alone = Team()
    values = np.float32([1.5, -0.0])
    assert alone.sum(values) is values and alone.chiefs(True) == 1 and alone.any_signal(15) == 15
    assert alone.is_chief and alone.replicas == 1 and alone.any_signal(None) is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--strategy=multi_worker"], "TF_CONFIG is not set"),
        (["--strategy=one", "--replicas=2"], "--replicas=2 is for --strategy=mirrored, not for one"),
        (["--strategy=mirrored"], "there is no GPU"),
    ],
)
def test_strategies_that_cannot_be_are_refused(refused, synthetic_dir, tmp_path, monkeypatch, flags, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert message in refused(train.main, train_arguments(synthetic_dir, tmp_path / "run", *flags))
    assert not (tmp_path / "run").exists()


def test_launch_needs_flags_behind_it(refused):
    assert "no flags of train" in refused(launch.main, ["launch", "--workers=2"])
    assert "--workers" in refused(launch.main, ["launch", "--workers=0", "--", "--epochs=1"])


def test_what_ships_does_not_synchronize():
    embedder = build_embedder(image_size=(32, 16), head="bnneck", sync_batch_norm=True)
    names = [layer.name for layer in embedder.layers if "_bn" in layer.name]
    assert len(names) == 54  # of 53 convolutions, and the neck
    assert all(embedder.get_layer(name).synchronized for name in names)
    shipped = rebuild_in_float32(embedder)
    assert not any(shipped.get_layer(name).synchronized for name in names)
    assert "synchronized" not in str(shipped.get_config())
