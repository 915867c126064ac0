"""What counts as shipped: each format compared with the reference model, and nothing at all when one falls short."""

import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from keras_reid.artifacts import artifact_of, describe_embedder, open_artifact
from keras_reid.artifacts.formats import tflite
from keras_reid.errors import ReidError
from keras_reid.evaluation.scoring import score
from keras_reid.serving import FORMATS, ship, shipping, some_people
from keras_reid.serving.calibration import calibration_images, spread_over_identities_and_cameras
from keras_reid.serving.parity import parity_of, record_parity, row_cosines, shortfall
from tests.conftest import tiny_embedder


def ship_scored(embedder, folder, formats, catalog, dataset=""):
    """Ships an embedder compared with its own score."""
    given = {"metadata": describe_embedder(embedder, dataset=dataset), "catalog": catalog}
    return ship(embedder, folder, formats=formats, reference=score(artifact_of(embedder), catalog), **given)


@pytest.fixture(scope="module")
def shipped(tiny_catalog, tmp_path_factory):
    """(embedder, folder, paths, parities) of three formats."""
    embedder, folder = tiny_embedder(), tmp_path_factory.mktemp("export") / "made" / "export"
    paths, parities = ship_scored(embedder, folder, ["tflite", "savedmodel", "keras"], tiny_catalog, "synthetic")
    return embedder, folder, paths, parities


def test_each_format_is_in_its_place_and_scored_by_itself(shipped, tiny_catalog):
    embedder, folder, paths, parities = shipped
    places = {"tflite": "embedder.tflite", "savedmodel": "embedder/1", "keras": "embedder.keras"}
    assert {name: str(path.relative_to(folder)) for name, path in paths.items()} == places
    reference = score(artifact_of(embedder), tiny_catalog)
    for name, parity in parities.items():
        assert open_artifact(paths[name]).kind == name
        assert parity["scores"]["mean_average_precision"] == pytest.approx(reference.result.mean_average_precision)
        assert parity["images"] == ((tiny_catalog.split != "train") & (tiny_catalog.person_id != -1)).sum()
        assert parity["worst_cosine"] > 0.99999 and parity["mean_average_precision_change"] == pytest.approx(0)
        assert parity["images_per_second"] > 0


def test_the_report_is_kept_by_path_and_forgets_what_is_gone(shipped, tiny_catalog, tmp_path):
    embedder, folder, paths, parities = shipped
    report = json.loads((folder / "parity.json").read_text())
    assert report.keys() == {"embedder.tflite", "embedder/1", "embedder.keras"}
    assert report["embedder/1"] == json.loads(json.dumps(parities["savedmodel"]))
    (tmp_path / "embedder.tflite").write_bytes(b"")
    (tmp_path / "parity.json").write_text(json.dumps({"gone": {}, "embedder.tflite": {"images": 1}}))
    (tmp_path / "new").mkdir()
    record_parity(tmp_path, {"new": {"images": 2}})
    assert json.loads((tmp_path / "parity.json").read_text()) == {
        "embedder.tflite": {"images": 1},
        "new": {"images": 2},
    }


@pytest.mark.parametrize("content", ["[1", "[1]", ""])
def test_a_report_that_is_damaged_is_made_anew(tmp_path, content):
    (tmp_path / "parity.json").write_text(content)
    record_parity(tmp_path, {"new": {"images": 2}})
    assert json.loads((tmp_path / "parity.json").read_text()) == {"new": {"images": 2}}


@pytest.mark.parametrize("existing", [False, True])
def test_when_one_format_falls_short_nothing_is_left_behind(tiny_catalog, tmp_path, monkeypatch, capsys, existing):
    """The TFLite file is of another network; the SavedModel before it was right."""
    folder, right = tmp_path / "made" / "export", tflite.write
    if existing:
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("of a user")
    monkeypatch.setattr(tflite, "write", lambda _, *a, **options: right(_other_network(), *a, **options))
    with pytest.raises(ReidError, match=r"nothing was written: tflite: the worst cosine .* below min_cosine=0.999"):
        ship_scored(tiny_embedder(), folder, ["savedmodel", "tflite"], tiny_catalog)
    assert "worst cosine" in capsys.readouterr().out
    left = [path.name for path in tmp_path.rglob("*")]
    assert left == (["made", "export", "notes.txt"] if existing else [])


def _other_network():
    from keras_reid.keras2 import keras

    keras.utils.set_random_seed(77)
    return tiny_embedder()


def test_a_format_that_cannot_be_written_leaves_nothing_of_the_others(tiny_catalog, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr(tflite, "write", fail)
    with pytest.raises(OSError, match="No space"):
        ship_scored(tiny_embedder(), tmp_path / "a" / "b", ["savedmodel", "tflite"], tiny_catalog)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["embedder.tflite/", "embedder", "parity.json/"])
def test_what_stands_in_the_way_is_named_before_anything_is_done(tiny_catalog, tmp_path, capsys, place):
    if place.endswith("/"):
        (tmp_path / place).mkdir()
    else:
        (tmp_path / place).write_text("of a user")
    with pytest.raises(ReidError, match=f"{place.strip('/')}' is a f.* expected a f.*: move it"):
        ship_scored(tiny_embedder(), tmp_path, ["savedmodel", "tflite"], tiny_catalog)
    assert [path.name for path in tmp_path.rglob("*")] == [place.strip("/")]
    assert "exporting" not in capsys.readouterr().out


def test_when_placing_fails_what_was_there_before_is_there_again(shipped, tiny_catalog, tmp_path, monkeypatch):
    folder = tmp_path / "export"
    shutil.copytree(shipped[1], folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def fail(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(shipping, "record_parity", fail)
    with pytest.raises(OSError, match="No space"):
        ship_scored(tiny_embedder(), folder, ["savedmodel", "tflite", "keras"], tiny_catalog)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_two_exports_at_once_get_a_version_each(shipped, tiny_catalog, tmp_path, monkeypatch):
    """The other one writes version 1 between this one's look and its rename."""
    right, looks = shipping.next_version, []

    def slow(place):
        looks.append(right(place))
        if len(looks) == 1:
            shutil.copytree(shipped[2]["savedmodel"], place / "1")
        return looks[-1]

    monkeypatch.setattr(shipping, "next_version", slow)
    paths, _ = ship_scored(tiny_embedder(), tmp_path / "a", ["savedmodel"], tiny_catalog)
    assert looks == [1, 2] and paths["savedmodel"] == tmp_path / "a" / "embedder" / "2"


def test_a_failing_export_removes_no_other_s_folder(tiny_catalog, tmp_path):
    with pytest.raises(RuntimeError):
        with shipping._staged(["tflite"], tmp_path / "new" / "mine"):
            (tmp_path / "new" / "theirs").mkdir()
            raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "theirs"]


def test_what_a_killed_export_left_goes_after_a_day(tiny_catalog, tmp_path):
    old, new, other = (tmp_path / name for name in (".embedder.part-1.tflite", ".embedder.part-2.tflite", ".a.part-3"))
    for path in (old, new, other):
        path.write_text("half")
        os.utime(path, (0, 0) if path != new else None)
    with shipping._staged(["tflite"], tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, new.name]


def test_the_rules_of_the_reference_score_hold_for_what_ships(tiny_catalog, tmp_path):
    catalog = tiny_catalog.assign(camera_id=1)
    embedder = tiny_embedder()
    reference = score(artifact_of(embedder), catalog, ignore="nothing")
    given = {"metadata": describe_embedder(embedder), "catalog": catalog, "reference": reference}
    _, parities = ship(embedder, tmp_path / "a", formats=["keras"], **given)
    assert parities["keras"]["scores"]["ignore"] == "nothing"


def test_versions_go_on_and_files_are_replaced(shipped, tiny_catalog):
    embedder, folder, _, _ = shipped
    before = (folder / "embedder.keras").stat().st_ino
    paths, _ = ship_scored(embedder, folder, ["savedmodel", "keras"], tiny_catalog)
    assert paths["savedmodel"] == folder / "embedder" / "2" and (folder / "embedder" / "1").is_dir()
    assert (folder / "embedder.keras").stat().st_ino != before
    assert sorted(path.name for path in folder.iterdir()) == [
        "embedder", "embedder.keras", "embedder.tflite", "parity.json"
    ]  # fmt: skip


def test_unknown_formats_are_refused_before_anything_is_done(tiny_catalog, tmp_path):
    for formats in (["onnxx", "tflite"], []):
        with pytest.raises(ReidError, match=f"expected one or more of {', '.join(FORMATS)}"):
            ship(tiny_embedder(), tmp_path / "no", formats=formats, metadata={}, catalog=tiny_catalog, reference=None)
    assert list(tmp_path.iterdir()) == []


def evaluated(query: list, gallery: list, score: float, top1: float = 1.0):
    """A stand-in for a `Score`, with embeddings and scores by hand."""
    embedded = SimpleNamespace(query_embeddings=np.float32(query), gallery_embeddings=np.float32(gallery))
    scores = {"mean_average_precision": score, "top1": top1, "metric": "euclidean"}
    per_query = ("average_precision", "average_precision_trapezoid", "inverse_negative_penalty")
    result = SimpleNamespace(
        to_dict=lambda: scores, first_match_rank=np.array([1]), **{name: np.array([score]) for name in per_query}
    )
    return SimpleNamespace(embedded=embedded, result=result, images_per_second=10.0)


def test_parity_by_hand():
    """Cosines 1, 0.6 and 0 by the triangle 3, 4, 5 and a right angle; differences 1, sqrt(0.8), 5/3 of a length."""
    reference = evaluated([[1, 0]], [[1, 0], [0, 3]], 0.5, 0.75)
    parity = parity_of(reference, evaluated([[2, 0]], [[0.6, 0.8], [4, 0]], 0.4, 1.0))
    assert parity["images"] == 3
    assert parity["worst_cosine"] == pytest.approx(0) and parity["mean_cosine"] == pytest.approx(1.6 / 3)
    assert parity["first_percentile_cosine"] == pytest.approx(0.6 * 0.02)
    assert parity["worst_relative_difference"] == pytest.approx(5 / 3)
    assert parity["last_percentile_relative_difference"] == pytest.approx(0.98 * 5 / 3 + 0.02)
    assert parity["mean_average_precision_change"] == pytest.approx(-0.1) and parity["top1_change"] == 0.25
    assert parity["intervals"]["mean_average_precision"] == pytest.approx((0.4, 0.4))


def test_cosines_of_rows_that_have_no_direction():
    first = np.array([[0.0, 0], [0, 0], [np.nan, 1], [1, 0], [1e-30, 0]])
    second = np.array([[0.0, 0], [1, 0], [1, 1], [np.inf, 0], [1e-30, 0]])
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(row_cosines(first, second), [1, 0, -1, -1, 1])


def parity(metric: str = "euclidean", **changed) -> dict:
    usual = {"worst_cosine": 1.0, "first_percentile_cosine": 1.0, "mean_average_precision_change": 0.0}
    usual |= {"worst_relative_difference": 0.0, "last_percentile_relative_difference": 0.0}
    return {**usual, "scores": {"metric": metric}, **changed}


@pytest.mark.parametrize(
    ("name", "found", "min_cosine", "text"),
    [
        ("tflite", {"worst_cosine": 0.9991}, None, None),
        ("tflite", {"worst_cosine": 0.9989}, None, "below min_cosine=0.999"),
        ("savedmodel", {"worst_cosine": 0.9989}, None, "below min_cosine=0.999"),
        ("tflite", {"worst_cosine": 0.9989}, 0.9, None),
        ("tflite_int8", {"worst_cosine": 0.5, "first_percentile_cosine": 0.981}, None, None),
        ("tflite_int8", {"first_percentile_cosine": 0.979}, None, "first percentile cosine .* below min_cosine=0.98"),
        ("tflite_int8", {"first_percentile_cosine": 0.99}, 0.999, "below min_cosine=0.999"),
        ("tflite_int16", {"worst_cosine": 0.979, "first_percentile_cosine": 1.0}, None, "below min_cosine=0.98"),
        ("tflite_dynamic_range", {"worst_cosine": 0.985}, None, None),
        ("onnx", {"mean_average_precision_change": -0.0099}, None, None),
        (
            "onnx",
            {"mean_average_precision_change": -0.0101},
            None,
            "mAP falls by 1.01 points, more than max_map_drop=1",
        ),
        ("onnx", {"mean_average_precision_change": 0.5}, None, None),
        # Twice as long: the same cosine, another distance. sqrt(2 - 2 * 0.999) is 4.47 %, of 0.98 it is 20 %.
        (
            "onnx",
            {"worst_relative_difference": 1.0},
            None,
            r"differ from the reference model's by 100.00% .* more than 4.47%",
        ),
        ("onnx", {"worst_relative_difference": 1.0, "metric": "cosine"}, None, None),
        ("onnx", {"worst_relative_difference": 0.0446}, None, None),
        ("onnx", {"worst_relative_difference": 0.0448}, None, "more than 4.47%"),
        ("onnx", {"worst_relative_difference": 1e-6}, 1.0, None),
        ("tflite_int8", {"worst_relative_difference": 1.0, "last_percentile_relative_difference": 0.19}, None, None),
        ("tflite_int8", {"last_percentile_relative_difference": 0.21}, None, "by 21.00% .* more than 20.00%"),
    ],
)
def test_what_falls_short(name, found, min_cosine, text):
    import re

    said = shortfall(name, parity(**found), min_cosine=min_cosine, max_map_drop=1.0)
    assert (said is None) if text is None else re.search(text, said)


def people_and_cameras(seen: dict) -> pd.DataFrame:
    rows = [(person, camera) for (person, camera), count in seen.items() for _ in range(count)]
    return pd.DataFrame(rows, columns=["person_id", "camera_id"])


def test_calibration_sees_everyone_once_before_anyone_twice_and_cameras_in_turn():
    """Person 1 has 50 images by camera 1 and one by camera 2; persons 2 to 9 have one by each of 4 cameras."""
    seen = {(1, 1): 50, (1, 2): 1, **{(person, camera): 1 for person in range(2, 10) for camera in range(1, 5)}}
    frame = people_and_cameras(seen)
    chosen = spread_over_identities_and_cameras(frame, 9)
    assert sorted(chosen.person_id) == list(range(1, 10))
    chosen = spread_over_identities_and_cameras(frame, 18)
    assert chosen.person_id.value_counts().eq(2).all()
    assert not chosen.duplicated(["person_id", "camera_id"]).any()  # of person 1, too, each camera before any again
    assert len(spread_over_identities_and_cameras(frame, 1000)) == len(frame)


def test_calibration_takes_cameras_in_turn_where_there_are_more_people_than_images():
    frame = people_and_cameras({(person, camera): 1 for person in range(400) for camera in range(1, 6)})
    chosen = spread_over_identities_and_cameras(frame, 100)
    assert chosen.person_id.is_unique and chosen.camera_id.value_counts().tolist() == [20] * 5


def test_calibration_knows_no_cameras_where_there_are_none():
    frame = people_and_cameras({(person, 1): 3 for person in range(5)})
    assert spread_over_identities_and_cameras(frame.drop(columns="camera_id"), 5).person_id.is_unique
    gaps = frame.assign(camera_id=pd.array([1, None, 2] * 5, dtype="Int64"))
    assert len(spread_over_identities_and_cameras(gaps, 7)) == 7


def test_calibration_images_are_training_images_of_the_network_s_size(tiny_catalog):
    pixels = calibration_images(tiny_catalog, (20, 10), count=9)
    assert pixels.shape == (9, 20, 10, 3) and pixels.dtype == np.uint8 and pixels.std() > 10
    with pytest.raises(ReidError, match="the dataset has none"):
        calibration_images(tiny_catalog[tiny_catalog.split != "train"], (20, 10), count=9)


def test_some_people_keep_all_their_images():
    catalog = people_and_cameras({(person, camera): 10 for person in range(-1, 300) for camera in (1, 2)})
    splits = np.where(np.arange(len(catalog)) % 10 == 0, "query", "gallery")
    catalog = catalog.assign(split=np.where(catalog.person_id % 2 == 1, "train", splits))
    fewer = some_people(catalog, 1005)
    scored = fewer[fewer.split != "train"]
    assert len(scored) == 1020 and scored.person_id.min() > 0 and scored.person_id.value_counts().eq(20).all()
    assert (fewer.split == "train").sum() == (catalog.split == "train").sum()
    everyone = some_people(catalog, 10**6)
    assert everyone[everyone.split != "train"].person_id.nunique() == 149
    with pytest.raises(ReidError, match="parity_images=999, expected at least 1000"):
        some_people(catalog, 999)
