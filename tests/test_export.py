"""`python -m keras_reid.export`: from a finished run to files that answer, by the command line."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from keras_reid import compare, embed, evaluate, export, options
from keras_reid.artifacts import open_artifact
from keras_reid.data.images import decode_image
from keras_reid.keras2 import tf


@pytest.fixture(scope="module")
def exported(finished_run, synthetic_dir, tiny_catalog, tmp_path_factory):
    """A SavedModel with a threshold and a gallery, and a `.keras` file."""
    folder = tmp_path_factory.mktemp("export")
    gallery = tiny_catalog[tiny_catalog.split == "gallery"].drop(columns="split")
    gallery.to_csv(folder / "gallery.csv", index=False)
    arguments = [f"--artifact={finished_run}", f"--images={folder / 'gallery.csv'}", f"--output={folder / 'g.npz'}"]
    assert embed.main(["embed", *arguments]) == 0
    arguments = [f"--run_dir={finished_run}", f"--export_dir={folder / 'out'}", "--formats=savedmodel,keras"]
    arguments += ["--calibrate_fpr=0.05", f"--gallery={folder / 'g.npz'}", "--neighbors=3"]
    assert export.main(["export", *arguments]) == 0
    return folder / "out"


def test_the_threshold_is_calibrated_before_anything_is_written(exported):
    for place in ("embedder", "embedder.keras"):
        metadata = open_artifact(exported / place).metadata
        assert 0 < metadata["false_positive_rate"] <= 0.05 and metadata["threshold_dataset"] == "synthetic"
    signature = tf.saved_model.load(str(exported / "embedder" / "1")).signatures["compare"]
    images = np.zeros((1, 32, 16, 3), np.uint8)
    answer = signature(first_images=tf.constant(images), second_images=tf.constant(images))
    assert answer["same_person"].numpy().tolist() == [True]


def test_the_command_compare_and_the_signature_say_the_same(exported, tiny_catalog, capsys):
    first, second = tiny_catalog[tiny_catalog.split == "query"].image_path.iloc[[0, -1]]
    assert compare.main(["compare", f"--artifact={exported / 'embedder'}", first, second]) == 0
    said = capsys.readouterr().out
    pixels = [decode_image(tf.io.read_file(path))[None] for path in (first, second)]
    signature = tf.saved_model.load(str(exported / "embedder" / "1")).signatures["compare"]
    answer = signature(first_images=pixels[0], second_images=pixels[1])
    assert float(said.splitlines()[0].split()[-1]) == pytest.approx(float(answer["distance"][0]), rel=1e-4, abs=1e-6)
    assert said.splitlines()[1].startswith("same person" if answer["same_person"][0] else "different people")


def test_search_finds_the_gallery_image_itself(exported, tiny_catalog):
    gallery = tiny_catalog[tiny_catalog.split == "gallery"].reset_index(drop=True)
    signature = tf.saved_model.load(str(exported / "embedder" / "1")).signatures["search"]
    answer = signature(images=decode_image(tf.io.read_file(gallery.image_path[4]))[None])
    assert answer["rows"].shape == (1, 3) and int(answer["ids"][0, 0]) == gallery.person_id[4]
    assert float(answer["distances"][0, 0]) == pytest.approx(0, abs=1e-4)


def test_the_report_lies_beside_the_files(exported):
    report = json.loads((exported / "parity.json").read_text())
    assert report.keys() == {"embedder/1", "embedder.keras"}
    assert all(parity["worst_cosine"] > 0.9999 for parity in report.values())


def test_a_run_has_a_report_of_what_training_shipped(finished_run):
    report = json.loads((finished_run / "export" / "parity.json").read_text())
    assert {"embedder/1", "embedder.tflite"} <= report.keys()


def test_an_exported_keras_file_is_scored_by_evaluate(exported, synthetic_dir, tmp_path):
    arguments = [f"--artifact={exported / 'embedder.keras'}", "--dataset=synthetic", f"--data_dir={synthetic_dir}"]
    assert evaluate.main(["evaluate", *arguments, f"--json={tmp_path / 'scores.json'}"]) == 0
    score = json.loads((tmp_path / "scores.json").read_text())["mean_average_precision"]
    report = json.loads((exported / "parity.json").read_text())
    assert score == pytest.approx(report["embedder.keras"]["mean_average_precision"])


def test_what_falls_short_ends_in_one_line_and_leaves_nothing(finished_run, tmp_path, capsys):
    arguments = [f"--run_dir={finished_run}", f"--export_dir={tmp_path / 'out'}", "--formats=tflite_float16"]
    assert export.main(["export", *arguments, "--min_cosine=1.0"]) == 1
    captured = capsys.readouterr()
    assert "tflite_float16" in captured.out and "worst cosine" in captured.out
    assert "below --min_cosine=1" in captured.err and captured.err.strip().splitlines()[-1].startswith("error: ")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def refused_flags(refused, finished_run, tmp_path):
    """Runs the command with wrong flags, which must be refused in one line and write nothing; returns the line."""

    def run(**flags) -> str:
        flags = {"run_dir": finished_run, "export_dir": tmp_path / "out", **flags}
        error = refused(export.main, ["export", *(f"--{name}={value}" for name, value in flags.items())])
        assert not (tmp_path / "out").exists()
        return error

    return run


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"formats": "tflite,int9"}, "--formats=tflite,int9, expected one or more of savedmodel, keras, tflite"),
        ({"formats": ""}, "--formats=, expected one or more of"),
        ({"run_dir": "nowhere"}, "no trained run at 'nowhere'"),
        ({"data_dir": "nowhere"}, "nowhere"),
        ({"min_cosine": "2"}, "--min_cosine"),
        ({"max_map_drop": "-1"}, "--max_map_drop"),
        ({"max_map_drop": "much"}, "--max_map_drop"),
        ({"calibrate_fpr": "0"}, "expected a rate between 0 and 1"),
        ({"calibrate_fpr": "1e-9"}, "use more images or a larger rate"),
        ({"calibrate_fpr": "0.1", "parity_images": 1000}, "leave out --parity_images"),
        ({"parity_images": 5}, "--parity_images=5, expected at least 1000"),
        ({"gallery": "nothing.npz"}, "no file of embeddings at 'nothing.npz'"),
        ({"gallery": "g.npz", "formats": "tflite"}, "add savedmodel to --formats"),
        ({"neighbors": 0}, "--neighbors"),
        ({"calibration_images": 0}, "--calibration_images"),
    ],
)
def test_wrong_flags_are_refused(refused_flags, flags, text):
    assert text in refused_flags(**flags)


def test_a_gallery_of_another_network_is_refused(refused_flags, tmp_path):
    pd.DataFrame({"person_id": [1], "e0": [0.5], "e1": [0.5]}).to_csv(tmp_path / "g.csv", index=False)
    assert "of width 2, the network gives 128" in refused_flags(gallery=tmp_path / "g.csv")


def test_an_export_folder_that_is_a_file_is_refused(refused, finished_run, tmp_path):
    (tmp_path / "file").write_text("x")
    error = refused(export.main, ["export", f"--run_dir={finished_run}", f"--export_dir={tmp_path / 'file'}"])
    assert "expected a folder" in error


def test_a_damaged_model_is_refused(refused, finished_run, tmp_path):
    shutil.copy(finished_run / "run.flags", tmp_path)
    (tmp_path / "last.keras").write_bytes((finished_run / "last.keras").read_bytes()[:5000])
    assert "last.keras" in refused(export.main, ["export", f"--run_dir={tmp_path}"])


def test_help_lists_every_flag(capsys):
    assert export.main(["export", "--help"]) == 0
    output = capsys.readouterr().out
    assert all(f"--{name} [" in output for name in options.export_flags())
