"""Network fingerprint: equal for all that one network becomes, another one for another network; mixing is refused."""

import numpy as np
import pandas as pd
import pytest

from keras_reid.artifacts import (
    artifact_of,
    check_one_network,
    describe_embedder,
    fingerprint_of,
    open_artifact,
    read_embeddings,
    write_embeddings,
)
from keras_reid.artifacts.formats.search import read_gallery
from keras_reid.artifacts.formats.table import FORMATS
from keras_reid.errors import ReidError
from keras_reid.evaluation.embedding import embedded_of_files
from keras_reid.keras2 import keras
from keras_reid.models import rebuild_in_float32, save_keras
from tests.conftest import tiny_embedder


def counted_up(rescaling: float = 1 / 128, name: str = "any") -> keras.Model:
    """A network whose weights are 0, 1, 2, ..., divided by 100."""
    images = keras.Input((8, 4, 3))
    x = keras.layers.Rescaling(rescaling, offset=[-1.0, 0.5, 0.0])(images)
    x = keras.layers.Conv2D(2, 3, padding="same", activation="relu", name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    x = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(images, x)
    model.set_weights([np.arange(one.size).reshape(one.shape) / 100 for one in model.get_weights()])
    return model


def test_it_is_the_same_on_every_stack():
    """Seen on TensorFlow 2.15 and 2.21: embeddings made on one are compared with those made on the other."""
    assert fingerprint_of(counted_up()) == "1ba3fb15bdfb7ce0ad390e8b454781f6"


def test_names_precision_and_freezing_do_not_count(tmp_path):
    model, expected = counted_up(), fingerprint_of(counted_up())
    assert fingerprint_of(counted_up(name="other")) == expected
    model.trainable = False
    assert fingerprint_of(model) == expected
    keras.mixed_precision.set_global_policy("mixed_float16")
    mixed = counted_up()
    assert fingerprint_of(mixed) == fingerprint_of(rebuild_in_float32(mixed)) == expected
    layers = keras.Sequential([keras.Input((8, 4, 3)), *counted_up().layers[1:]])
    assert fingerprint_of(layers) == expected
    assert open_artifact(save_keras(layers, tmp_path / "a.keras")).network_fingerprint == expected


def test_a_weight_or_the_preprocessing_makes_another_network():
    model, seen = counted_up(), {fingerprint_of(counted_up()), fingerprint_of(counted_up(rescaling=1 / 127))}
    for number, weights in enumerate(model.get_weights()):
        changed = model.get_weights()
        changed[number] = weights + np.eye(1, weights.size).reshape(weights.shape) * np.float32(1e-6)
        other = counted_up()
        other.set_weights(changed)
        seen.add(fingerprint_of(other))
    assert len(seen) == 2 + len(model.get_weights())


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "onnx"])
def test_every_format_of_a_network_carries_its_fingerprint(tmp_path, name):
    """Also where the weights were rounded to int8."""
    embedder, place = tiny_embedder(normalize=True), tmp_path / FORMATS[name].place
    photos = np.random.default_rng(0).integers(0, 256, (20, 32, 16, 3), np.uint8)
    more = {"calibration_images": photos} if FORMATS[name].needs_calibration else {}
    try:
        FORMATS[name].write(embedder, place, describe_embedder(embedder), **more)
    except ReidError as error:  # TensorFlow 2.15 on this network of zeros
        pytest.skip(str(error))
    assert open_artifact(place).network_fingerprint == fingerprint_of(embedder)
    assert artifact_of(embedder).network_fingerprint != artifact_of(tiny_embedder(normalize=True)).network_fingerprint


def test_a_keras_file_has_the_fingerprint_of_its_weights_whatever_its_age(tmp_path):
    embedder = tiny_embedder()
    metadata = {key: value for key, value in describe_embedder(embedder).items() if key != "network_fingerprint"}
    for known in (None, metadata, {**metadata, "network_fingerprint": "of the network before it was fine-tuned"}):
        save_keras(embedder, tmp_path / "a.keras", metadata=known)
        assert open_artifact(tmp_path / "a.keras").network_fingerprint == fingerprint_of(embedder)


# --- Where two meet ---

PEOPLE = pd.DataFrame({"person_id": [1, 2], "camera_id": [1, 2]})


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv"])
def test_embeddings_files_carry_it_and_older_ones_open(tmp_path, suffix):
    path, rows = tmp_path / f"a{suffix}", np.eye(2, 8)
    if suffix == ".parquet":
        pytest.importorskip("pyarrow.parquet")
    write_embeddings(path, PEOPLE, rows, metric="cosine", network_fingerprint="1f")
    assert (read_embeddings(path).network_fingerprint, read_embeddings(path).metric) == ("1f", "cosine")
    assert list(read_embeddings(path).frame) == list(PEOPLE)
    write_embeddings(path, PEOPLE, rows)
    assert read_embeddings(path).network_fingerprint is None


def test_rows_of_two_networks_in_one_csv_are_refused(tmp_path):
    for name in ("a", "b"):
        write_embeddings(tmp_path / f"{name}.csv", PEOPLE, np.eye(2, 8), network_fingerprint=f"of {name}")
    both = pd.concat([pd.read_csv(tmp_path / "a.csv"), pd.read_csv(tmp_path / "b.csv")])
    both.to_csv(tmp_path / "both.csv", index=False)
    with pytest.raises(ReidError, match="2 values of network_fingerprint, of a, of b: expected one"):
        read_embeddings(tmp_path / "both.csv")


def test_a_gallery_of_another_network_is_refused_and_of_an_unknown_one_said(tmp_path, capsys):
    path, network = tmp_path / "gallery.npz", {"metric": "euclidean", "embedding_size": 8}
    write_embeddings(path, PEOPLE, np.eye(2, 8), network_fingerprint="a" * 32)
    read_gallery(path, **network, network_fingerprint="a" * 32)
    assert capsys.readouterr().out == ""
    with pytest.raises(
        ReidError, match="gallery.npz' and the network come from two networks .*aaaaaaaaaaaa and bbbbbb"
    ):
        read_gallery(path, **network, network_fingerprint="b" * 32)
    write_embeddings(path, PEOPLE, np.eye(2, 8))
    assert len(read_gallery(path, **network, network_fingerprint="b" * 32).ids) == 2
    assert capsys.readouterr().out.splitlines() == [
        f"not checked whether one network made them: no network fingerprint in {str(path)!r}"
    ]


def test_query_and_gallery_of_two_networks_are_not_scored(tmp_path, capsys):
    def saved(network):
        write_embeddings(tmp_path / "a.npz", PEOPLE, np.eye(2, 8), network_fingerprint=network)
        return read_embeddings(tmp_path / "a.npz")

    with pytest.raises(ReidError, match="the query embeddings and the gallery embeddings come from two networks"):
        embedded_of_files(saved("a"), saved("b"))
    assert embedded_of_files(saved("a"), saved("a")).network_fingerprint == "a"
    assert capsys.readouterr().out == ""
    assert embedded_of_files(saved("a"), saved(None)).network_fingerprint == "a"
    assert "no network fingerprint in the gallery embeddings" in capsys.readouterr().out


def test_three_that_agree_or_do_not():
    check_one_network({"one": "x", "two": "x", "three": "x"})
    with pytest.raises(ReidError, match="one and three come from two networks"):
        check_one_network({"one": "x", "two": "x", "three": "y"})
