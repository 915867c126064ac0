"""A run on one's own CSV, without cameras, beside a second set: trained, gone on with, scored and exported."""

import json
import os

import pytest

from keras_reid import evaluate, export, train
from keras_reid.artifacts import open_artifact
from keras_reid.data import read_market1501
from tests.conftest import TINY_RUN


def write_csv(path, catalog, *, with_cameras=False, splits=("train", "query", "gallery")):
    names = {1: "anna", 2: "0", 3: "-1"}
    rows = catalog[catalog.split.isin(splits)].assign(
        image_path=[os.path.relpath(image, path.parent) for image in catalog.image_path[catalog.split.isin(splits)]],
        person_id=lambda frame: frame.person_id.map(lambda person: names.get(person, person)),
        camera_id=lambda frame: "c" + frame.camera_id.astype(str) if with_cameras else "",
    )
    rows.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def own_run(tmp_path_factory, tiny_catalog, synthetic_dir):
    """One epoch on a CSV without cameras, which is scored, and on 15 of the images of both sets."""
    folder = tmp_path_factory.mktemp("own")
    path = write_csv(folder / "people.csv", tiny_catalog)
    flags = [flag for flag in TINY_RUN if "dataset" not in flag] + ["--epochs=1", "--noscore_baselines"]
    flags += [f"--run_dir={folder / 'run'}", "--train_images=15", "--dataset=csv", f"--data_dir={path}"]
    flags += ["--dataset=synthetic", f"--data_dir={synthetic_dir}"]
    assert train.main(["train", *flags]) == 0
    return path, folder / "run", flags


def test_it_is_scored_with_each_missing_camera_as_one_of_its_own(own_run, capsys):
    path, run, flags = own_run
    scores = json.loads((run / "evaluation.json").read_text())
    assert scores["dataset"] == "csv+synthetic"
    assert (
        scores["scores"]["live"]["rules"]["missing_cameras"] == "distinct" if "rules" in scores["scores"]["live"] else 1
    )
    assert "keras_reid rendered" in open_artifact(run).metadata["licence_notes"]
    capsys.readouterr()
    assert train.main(["train", *flags]) == 0  # the same flags: it is finished
    output = capsys.readouterr().out
    assert "this run is finished" in output and "have no camera id; in scoring each counts as" in output
    assert "1. csv: " in output and "; scored\n2. synthetic: " in output
    held = (run / "run.flags").read_text()
    assert f"--data_dir={path}\n--data_dir=" in held and "--dataset=csv\n--dataset=synthetic\n" in held


def test_other_data_sets_in_the_same_folder_are_refused(own_run, refused):
    _, _, flags = own_run
    other = [flag for flag in flags if "dataset" not in flag]
    assert "--dataset=csv, synthetic there and --dataset=market1501, market1501 now" in refused(
        train.main, ["train", *other]
    )


def test_evaluate_says_what_to_do_without_cameras(own_run, refused, tmp_path, capsys):
    path, run, _ = own_run
    given = ["evaluate", f"--artifact={run}", "--dataset=csv", f"--data_dir={path}", "--bootstrap=0"]
    assert "--missing_cameras=distinct" in refused(evaluate.main, given)
    report = tmp_path / "scores.json"
    assert evaluate.main([*given, "--missing_cameras=distinct", f"--json={report}"]) == 0
    people = json.loads(report.read_text())["per_query"]["person_id"]
    assert all(isinstance(person, str) for person in people)


def test_evaluate_reads_a_csv_with_named_cameras(own_run, tmp_path, tiny_catalog, capsys):
    path = write_csv(tmp_path / "cameras.csv", tiny_catalog, with_cameras=True)
    given = ["--dataset=csv", f"--data_dir={path}", "--bootstrap=0", "--breakdown", f"--json={tmp_path / 'a.json'}"]
    assert evaluate.main(["evaluate", f"--artifact={own_run[1]}", *given]) == 0
    assert set(json.loads((tmp_path / "a.json").read_text())["per_query"]["camera_id"]) == {"c1", "c2"}


def test_export_scores_on_the_sets_of_the_run(own_run, capsys):
    run = own_run[1]
    assert export.main(["export", f"--run_dir={run}", "--formats=keras", f"--export_dir={run.parent / 'out'}"]) == 0
    assert open_artifact(run.parent / "out" / "embedder.keras").metadata["dataset"] == "csv+synthetic"


def test_a_set_without_query_and_gallery_is_refused_with_the_way_out(tmp_path, tiny_catalog, refused):
    path = write_csv(tmp_path / "train.csv", tiny_catalog, splits=("train",))
    given = ["train", "--dataset=csv", f"--data_dir={path}", f"--run_dir={tmp_path / 'run'}"]
    error = refused(train.main, given)
    assert (
        "csv: no query and gallery images" in error
        and "add another --dataset=NAME to score on, with its --data_dir" in error
    )


def test_training_refuses_missing_cameras_where_it_is_told_to(tmp_path, tiny_catalog, refused):
    path = write_csv(tmp_path / "people.csv", tiny_catalog)
    given = ["train", "--dataset=csv", f"--data_dir={path}", f"--run_dir={tmp_path / 'run'}"]
    error = refused(train.main, [*given, "--missing_cameras=refuse"])
    assert "query and gallery images have no camera id: give them, or say" in error


def test_a_bucket_folder_is_a_data_dir_like_any_other(own_run, synthetic_dir, tmp_path, capsys):
    given = ["--dataset=synthetic", f"--data_dir=file://{synthetic_dir}", "--bootstrap=0"]
    assert evaluate.main(["evaluate", f"--artifact={own_run[1]}", *given]) == 0
    assert len(read_market1501(f"file://{synthetic_dir}"))
