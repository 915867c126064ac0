"""`reid.json` inside each kind of artifact is changed, and nothing else of it is; what cannot be opened is refused."""

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from keras_reid.artifacts import artifact_of, describe_embedder, open_artifact, update_metadata
from keras_reid.artifacts.formats import tflite
from keras_reid.errors import ReidError
from keras_reid.models import save_keras
from tests.artifacts.formats.versions import write_version
from tests.conftest import tiny_embedder

KINDS = ["run", "keras", "savedmodel", "versions", "tflite"]
CALIBRATED = {"threshold": 0.75, "false_positive_rate": 1e-3, "threshold_dataset": "market1501"}
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 40, 20, 3), np.uint8)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    folder, embedder = tmp_path_factory.mktemp("shipped"), tiny_embedder()
    metadata = describe_embedder(embedder, dataset="synthetic", scores={"top1": 0.5})
    save_keras(embedder, folder / "model.keras", metadata=metadata)
    write_version(embedder, folder / "versions", metadata)
    tflite.write(embedder, folder / "embedder.tflite", metadata)
    return folder


@pytest.fixture
def place_of(shipped, tmp_path):
    """Lays one artifact of a kind down, to be changed: returns what is opened, and the file that `reid.json` is in."""

    def lay_down(kind: str) -> tuple:
        if kind == "run":
            return tmp_path, Path(shutil.copy(shipped / "model.keras", tmp_path / "last.keras"))
        if kind in ("keras", "tflite"):
            file = Path(shutil.copy(shipped / ("model.keras" if kind == "keras" else "embedder.tflite"), tmp_path))
            return file, file
        for version in (2, 10, 9):
            shutil.copytree(shipped / "versions" / "1", tmp_path / "served" / str(version))
        newest = tmp_path / "served" / "10"
        return newest if kind == "savedmodel" else newest.parent, newest / "assets" / "reid.json"

    return lay_down


def digests(folder: Path) -> dict:
    """The content of each file, and of each member of a `.keras`, but for those that `reid.json` is in."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as file:
                members = {name: file.read(name) for name in file.namelist() if name != "metadata.json"}
                about = json.loads(file.read("metadata.json"))
                about.pop("reid", None)
            content = repr([members, about]).encode()
        elif path.suffix == ".tflite":
            with zipfile.ZipFile(path) as file:
                content = path.read_bytes()[: file.getinfo("reid.json").header_offset]
        else:
            content = path.read_bytes()
        found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_changes_reid_json_and_nothing_else(place_of, tmp_path, kind):
    path, holder = place_of(kind)
    before, old = digests(tmp_path), open_artifact(path)
    assert old.threshold is None and old.metadata["threshold_dataset"] is None
    embeddings = old.embed(IMAGES)
    returned = update_metadata(path, CALIBRATED)
    new = open_artifact(path)
    assert new.metadata == returned == {**old.metadata, **CALIBRATED}
    assert new.threshold == 0.75
    np.testing.assert_array_equal(new.embed(IMAGES), embeddings)
    after = digests(tmp_path)
    if holder.name == "reid.json":
        del before[str(holder.relative_to(tmp_path))], after[str(holder.relative_to(tmp_path))]
    assert after == before


@pytest.mark.parametrize("kind", ["keras", "savedmodel", "tflite"])
def test_updates_may_be_repeated_and_do_not_pile_up(place_of, kind):
    path, holder = place_of(kind)
    update_metadata(path, CALIBRATED)
    size = holder.stat().st_size
    for threshold in (0.25, 0.5):
        update_metadata(path, {"threshold": threshold})
    assert open_artifact(path).threshold == 0.5
    assert open_artifact(path).metadata["threshold_dataset"] == "market1501"
    assert abs(holder.stat().st_size - size) < 10  # "0.75" and "0.5"


def test_a_tflite_keeps_the_check_of_its_model(place_of):
    path, _ = place_of("tflite")
    update_metadata(path, CALIBRATED)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == ["reid.json"]
        model = content[: file.getinfo("reid.json").header_offset]
        assert file.comment.decode() == hashlib.sha256(model).hexdigest()
    path.write_bytes(content[:1500] + bytes([content[1500] ^ 255]) + content[1501:])
    with pytest.raises(ReidError, match="damaged"):
        open_artifact(path)


def test_a_plain_keras_file_is_described_first(tmp_path):
    embedder = tiny_embedder()
    embedder.save(tmp_path / "plain.keras")
    update_metadata(tmp_path / "plain.keras", {"metric": "cosine"})
    artifact = open_artifact(tmp_path / "plain.keras")
    assert artifact.metadata == {**describe_embedder(embedder), "metric": "cosine"}
    np.testing.assert_allclose(artifact.embed(IMAGES), artifact_of(embedder).embed(IMAGES), rtol=1e-5)


@pytest.mark.parametrize("name", ["nothing", "model.keras", "model.tflite", "folder", "saved", "file.bin"])
def test_what_cannot_be_opened_is_refused_in_the_same_words_and_left_alone(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "saved").mkdir()
    for file in ("model.keras", "model.tflite", "saved/saved_model.pb", "file.bin"):
        (tmp_path / file).write_bytes(b"TFL3 no such thing")
    before = digests(tmp_path / "saved")
    with pytest.raises(ReidError) as opening:
        open_artifact(tmp_path / name)
    with pytest.raises(ReidError) as updating:
        update_metadata(tmp_path / name, CALIBRATED)
    assert str(updating.value) == str(opening.value)
    assert digests(tmp_path / "saved") == before


@pytest.mark.parametrize("kind", ["keras", "savedmodel", "tflite"])
def test_a_failed_update_leaves_the_artifact_as_it_was(place_of, tmp_path, monkeypatch, kind):
    path, holder = place_of(kind)
    names, before = sorted(tmp_path.rglob("*")), holder.read_bytes()
    with pytest.raises(TypeError):
        update_metadata(path, {"threshold": object()})
    with pytest.raises(ReidError, match="format 2"):
        update_metadata(path, {"format_version": 2})
    monkeypatch.setattr(os, "replace", lambda *arguments: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        update_metadata(path, CALIBRATED)
    assert holder.read_bytes() == before and sorted(tmp_path.rglob("*")) == names


@pytest.mark.parametrize("kind", ["keras", "tflite"])
def test_a_link_stays_a_link_to_the_changed_file(place_of, tmp_path, kind):
    path, _ = place_of(kind)
    link = tmp_path / f"current{path.suffix}"
    link.symlink_to(path.name)
    update_metadata(link, CALIBRATED)
    assert link.is_symlink() and open_artifact(path).threshold == 0.75


def test_a_tflite_with_files_of_others_is_not_changed(place_of):
    path, _ = place_of("tflite")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("labels.txt", "person")
    with pytest.raises(ReidError, match="labels.txt"):
        update_metadata(path, CALIBRATED)


def test_a_threshold_that_is_no_number_is_named(place_of):
    path, _ = place_of("keras")
    update_metadata(path, {"threshold": "far"})
    with pytest.raises(ReidError, match="model.keras.*threshold 'far', expected a number"):
        _ = open_artifact(path).threshold


def test_the_weights_are_streamed(place_of, monkeypatch):
    """No member of the archive but the small ones is read as a whole."""
    path, _ = place_of("keras")
    read, names = zipfile.ZipFile.read, []
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda file, name: names.append(name) or read(file, name))
    update_metadata(path, CALIBRATED)
    assert set(names) == {"config.json", "metadata.json"}
