"""`python -m keras_reid.evaluate`: what it prints and writes, of artifacts and saved embeddings; what it refuses."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from keras_reid import compare, evaluate, export
from keras_reid.artifacts import artifact_of, describe_embedder, embed_files, open_artifact, write_embeddings
from keras_reid.data import read_market1501
from keras_reid.evaluation import evaluate_retrieval, evaluate_single_gallery_shot, expand_queries, rerank, verify
from keras_reid.keras2 import keras
from keras_reid.models import load_keras, save_keras
from tests.conftest import tiny_embedder
from tests.evaluation.oracle import open_set


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    keras.utils.set_random_seed(0)  # made once, before the seeds of any test
    embedder = tiny_embedder(normalize=True)
    path = tmp_path_factory.mktemp("artifact") / "tiny.keras"
    return save_keras(embedder, path, metadata=describe_embedder(embedder))


@pytest.fixture(scope="module")
def sides(artifact, synthetic_dir):
    """Query and gallery as NumPy arrays, embedded by hand; with the ids that every evaluation needs."""
    catalog = read_market1501(synthetic_dir)
    catalog = catalog[catalog.person_id != -1]  # Junk is nobody's neighbor either.
    query, gallery = (catalog[catalog.split == split] for split in ("query", "gallery"))
    embedder = open_artifact(artifact)
    people = {
        "query_person_ids": query.person_id.to_numpy(),
        "gallery_person_ids": gallery.person_id.to_numpy(),
        "query_camera_ids": query.camera_id.to_numpy(),
        "gallery_camera_ids": gallery.camera_id.to_numpy(),
    }
    return embed_files(embedder, query.image_path), embed_files(embedder, gallery.image_path), people


@pytest.fixture
def run(artifact, synthetic_dir, tmp_path):
    """Runs the command on the tiny artifact; returns what it wrote as JSON."""

    def run(*flags, json_name="scores.json") -> dict:
        path = tmp_path / json_name
        given = [f"--artifact={artifact}", "--dataset=synthetic", f"--data_dir={synthetic_dir}"]
        assert evaluate.main(["evaluate", *given, f"--json={path}", *map(str, flags)]) == 0
        return json.loads(path.read_text())

    return run


def test_the_file_holds_scores_intervals_verification_and_each_query(run, sides, capsys):
    scores, (query, gallery, people) = run(), sides
    result, pairs = evaluate_retrieval(query, gallery, **people), verify(query, gallery, **people)
    assert scores["mean_average_precision"] == pytest.approx(result.mean_average_precision)
    np.testing.assert_allclose(scores["per_query"]["average_precision"], result.average_precision)
    assert scores["per_query"]["first_match_rank"] == result.first_match_rank.tolist()
    assert scores["per_query"]["query"][0].endswith(".jpg")
    low, high = scores["intervals"]["mean_average_precision"]
    assert low <= result.mean_average_precision <= high
    assert scores["verification"]["equal_error_rate"] == pytest.approx(pairs.equal_error_rate)
    output = capsys.readouterr().out
    assert "95 % interval" in output and "equal error rate %" in output
    assert f"{100 * result.mean_average_precision:.2f}" in output


def test_reranking_stands_beside_the_plain_scores(run, sides, capsys):
    query, gallery, people = sides
    scores = run("--rerank", "--k1=3", "--k2=2", "--lambda_value=0.5")
    distances = rerank(query, gallery, k1=3, k2=2, lambda_value=0.5)
    order = np.argsort(distances[0], kind="stable")
    own = (people["gallery_person_ids"] == people["query_person_ids"][0])[order]
    own &= (people["gallery_camera_ids"] != people["query_camera_ids"][0])[order]
    assert own.any() and scores["before_reranking"] == evaluate_retrieval(query, gallery, **people).to_dict()
    assert scores["mean_average_precision"] != scores["before_reranking"]["mean_average_precision"]
    assert "re-ranked (k1=3, k2=2, lambda=0.5)" in scores["metric"]
    assert "before re-ranking" in capsys.readouterr().out


def test_metric_and_ranks_are_what_the_flags_say(run, sides):
    query, gallery, people = sides
    scores = run("--metric=cosine", "--ranks=3")
    expected = evaluate_retrieval(query, gallery, metric="cosine", ranks=3, **people).to_dict()
    assert {name: scores[name] for name in expected} == expected


def test_expanded_queries_and_the_single_shot_protocol(run, sides):
    query, gallery, people = sides
    scores = run("--expand_queries=2", "--protocol=single_gallery_shot", "--draws=7", "--seed=3")
    expanded = expand_queries(query, gallery, neighbors=2)
    whole = evaluate_retrieval(expanded, gallery, **people)
    drawn = evaluate_single_gallery_shot(expanded, gallery, draws=7, seed=3, **people)
    assert scores["mean_average_precision"] == pytest.approx(whole.mean_average_precision)
    assert scores["single_gallery_shot"]["top1"] == pytest.approx(drawn.top1)


def test_multi_query_takes_the_images_of_gt_bbox(run, artifact, synthetic_dir, tmp_path, sides, refused):
    """Beside each query lies its mirror image."""
    data_dir = tmp_path / "data"
    shutil.copytree(synthetic_dir, data_dir)
    (data_dir / "gt_bbox").mkdir()
    for path in (data_dir / "query").iterdir():
        shutil.copy(path, data_dir / "gt_bbox")
        mirrored = path.name.replace("_00.jpg", "_01.png")
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(data_dir / "gt_bbox" / mirrored)
    assert len(list((data_dir / "gt_bbox").iterdir())) == 2 * len(sides[0])
    catalog = read_market1501(data_dir)
    assert (catalog.split == "multi_query").sum() == 2 * len(sides[0])
    given = [f"--artifact={artifact}", "--dataset=synthetic", "--multi_query=mean", f"--json={tmp_path / 'm.json'}"]
    assert evaluate.main(["evaluate", *given, f"--data_dir={data_dir}"]) == 0
    scores, plain = json.loads((tmp_path / "m.json").read_text()), run(json_name="plain.json")
    assert scores["queries"] == plain["queries"] == len(sides[0])
    assert scores["mean_average_precision"] != plain["mean_average_precision"]
    # Without gt_bbox the queries themselves are pooled, and there is one of each person and camera.
    assert "nothing to pool" in refused(evaluate.main, ["evaluate", *given, f"--data_dir={synthetic_dir}"])


def test_several_data_sets_make_one_table(run, synthetic_dir, tmp_path, capsys):
    shutil.copytree(synthetic_dir, tmp_path / "other")
    victim = next((tmp_path / "other" / "query").iterdir())
    victim.unlink()
    scores = run("--dataset=synthetic", f"--data_dir={tmp_path / 'other'}")
    names = [f"synthetic:{synthetic_dir.name}", "synthetic:other"]
    assert [one["queries"] for one in scores["data_sets"]][0] - 1 == scores["data_sets"][1]["queries"]
    assert [one["data_dir"] for one in scores["data_sets"]] == [str(synthetic_dir), str(tmp_path / "other")]
    output = capsys.readouterr().out
    assert all(name in output for name in names)


def test_breakdown_and_pictures(run, tmp_path, capsys):
    scores = run("--breakdown", f"--pictures={tmp_path / 'pictures'}")
    assert len(scores["camera_pairs"]["query_camera"]) == 2  # 1 to 2 and 2 to 1
    assert len(scores["identities"]["person_id"]) == 6
    assert "identities found worst" in capsys.readouterr().out
    for name in ("cmc.png", "roc.png", "distances.png", "camera_pairs.png", "worst_queries.png"):
        image = Image.open(tmp_path / "pictures" / name).convert("RGB")
        assert image.size > (600, 400) and len(image.getcolors(1 << 20)) > 20


# --- Two runs ---


def test_a_run_against_itself_does_not_differ(run, tmp_path, capsys):
    run(json_name="first.json")
    differences = run(f"--against={tmp_path / 'first.json'}", "--bootstrap=50")["against"]
    for name in ("mean_average_precision", "top1", "top5", "top10"):
        one = differences[name]
        assert (one["difference"], one["interval"], one["p_value"]) == (0.0, [0.0, 0.0], 1.0)
    assert "p-value" in capsys.readouterr().out


def test_a_run_against_other_rules_is_paired_by_query(run, tmp_path):
    other = run("--ignore=nothing", json_name="first.json")
    scores = run(f"--against={tmp_path / 'first.json'}")
    difference = scores["against"]["mean_average_precision"]
    expected = np.mean(scores["per_query"]["average_precision"]) - np.mean(other["per_query"]["average_precision"])
    assert difference["difference"] == pytest.approx(expected)
    assert difference["interval"][0] <= difference["difference"] <= difference["interval"][1]


# --- The threshold ---


def test_a_calibrated_threshold_is_used_by_compare_and_stays_in_the_next_export(
    finished_run, synthetic_dir, tmp_path, capsys
):
    run_dir = tmp_path / "run"
    shutil.copytree(finished_run, run_dir, ignore=shutil.ignore_patterns("checkpoints"))
    given = ["--dataset=synthetic", f"--data_dir={synthetic_dir}"]
    assert evaluate.main(["evaluate", f"--artifact={run_dir}", *given, "--calibrate_fpr=0.05"]) == 0
    assert "threshold" in capsys.readouterr().out
    opened = open_artifact(run_dir)
    catalog = read_market1501(synthetic_dir)
    query, gallery = (catalog[catalog.split == split].reset_index(drop=True) for split in ("query", "gallery"))
    left, right = (embed_files(opened, side.image_path).astype(float) for side in (query, gallery))
    distances = np.linalg.norm(left[:, None] - right, axis=2)
    wrong = query.person_id.to_numpy()[:, None] != gallery.person_id.to_numpy()
    impostors = distances[wrong & (gallery.person_id != -1).to_numpy()]
    assert (impostors <= opened.threshold).mean() == pytest.approx(opened.metadata["false_positive_rate"])
    allowed = int(0.05 * len(impostors))
    assert np.sort(impostors)[allowed - 1] <= opened.threshold * (1 + 1e-9) < np.sort(impostors)[allowed] * (1 + 1e-9)
    assert opened.metadata["threshold_dataset"] == "synthetic"
    served = json.loads((run_dir / "export" / "embedder" / "1" / "assets" / "reid.json").read_text())
    assert served["threshold"] == opened.threshold  # the whole run's

    near, far = (np.unravel_index(index, distances.shape) for index in (distances.argmin(), distances.argmax()))
    for (row, column), answer in ((near, "same person"), (far, "different people")):
        photos = [query.image_path[row], gallery.image_path[column]]
        assert compare.main(["compare", f"--artifact={run_dir}", *photos]) == 0
        assert answer in capsys.readouterr().out

    assert export.main(["export", f"--run_dir={run_dir}", "--formats=tflite"]) == 0
    assert open_artifact(run_dir / "export" / "embedder.tflite").threshold == opened.threshold


def test_the_open_set_scores_of_a_run_and_the_threshold_for_so_many_enrolled_people(
    finished_run, synthetic_dir, tmp_path, capsys
):
    """Two of six people are enrolled; against slow loops over the saved embeddings."""
    run_dir, saved = shutil.copytree(finished_run, tmp_path / "run"), tmp_path / "saved"
    drawing = ["--protocol=open_set", "--gallery_identities=2", "--draws=5", "--seed=3", "--bootstrap=20"]
    given = [*drawing, f"--save_embeddings={saved}", f"--json={tmp_path / 'scores.json'}", "--calibrate_fpr=0.25"]
    data = ["--dataset=synthetic", f"--data_dir={synthetic_dir}"]
    assert evaluate.main(["evaluate", f"--artifact={run_dir}", *data, *given]) == 0
    said, scores = capsys.readouterr().out, json.loads((tmp_path / "scores.json").read_text())
    sides = {side: np.load(saved / f"{side}.npz") for side in ("query", "gallery")}
    people = {f"{side}_{name}s": one[name] for side, one in sides.items() for name in ("person_id", "camera_id")}
    rows = [sides[side]["embeddings"] for side in ("query", "gallery")]
    drawn = scores["open_set"]["enrolled"]
    expected, strangers, enrolled = open_set(*rows, people, drawn, "euclidean", [0.1, 0.25])
    assert [len(one) for one in drawn] == [2] * 5
    assert scores["open_set"]["rank1"] == pytest.approx(expected["rank1"])
    assert scores["open_set"]["unknown_queries"] == strangers and scores["open_set"]["enrolled_queries"] == enrolled
    point = scores["open_set"]["at_false_alarm_rate"]["0.1"]
    names = ("threshold", "false_alarm_rate", "detection_and_identification_rate", "true_positive_identification_rate")
    assert [point[name] for name in names] == pytest.approx(list(expected[0.1]), rel=1e-6)
    assert scores["open_set"]["at_false_alarm_rate"]["0.001"] is None
    assert "5 galleries of 2 of 6 people" in said and "DIR % at FAR 0.1" in said and "no threshold" in said
    opened = open_artifact(run_dir)
    assert opened.threshold == pytest.approx(expected[0.25][0], rel=1e-6)
    assert opened.metadata["false_positive_rate"] == pytest.approx(expected[0.25][1])
    assert opened.metadata["threshold_identities"] == 2
    assert open_artifact(run_dir / "export" / "embedder").threshold == opened.threshold
    assert scores["calibration"]["detection_and_identification_rate"] == pytest.approx(expected[0.25][2])
    photo = read_market1501(synthetic_dir).image_path[0]
    assert compare.main(["compare", f"--artifact={run_dir}", photo, photo]) == 0
    assert "among 2 enrolled people" in capsys.readouterr().out
    # A threshold of pairs replaces all of it.
    assert evaluate.main(["evaluate", f"--artifact={run_dir}", *data, "--calibrate_fpr=0.25"]) == 0
    assert open_artifact(run_dir).metadata["threshold_identities"] is None


# --- Saved embeddings ---


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv"])
def test_saved_embeddings_score_as_the_artifact_did(run, tmp_path, suffix, artifact, synthetic_dir):
    scores = run(f"--save_embeddings={tmp_path / 'saved'}")
    paths = {side: tmp_path / "saved" / f"{side}.npz" for side in ("query", "gallery")}
    if suffix != ".npz":
        catalog = read_market1501(synthetic_dir)
        for side in paths:
            rows = catalog[catalog.split == side].drop(columns="split")
            paths[side] = tmp_path / f"{side}{suffix}"
            write_embeddings(paths[side], rows, embed_files(open_artifact(artifact), rows.image_path))
    given = [f"--{side}_embeddings={path}" for side, path in paths.items()]
    assert evaluate.main(["evaluate", *given, f"--json={tmp_path / 'again.json'}"]) == 0
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["per_query"] == scores["per_query"]
    assert again["verification"]["equal_error_rate"] == scores["verification"]["equal_error_rate"]


def test_ids_of_saved_embeddings_may_be_names(tmp_path, capsys):
    people, cameras = ["anna", "bo", "anna", "bo"], ["door", "door", "hall", "hall"]
    rows = np.array([[0.0], [5.0], [0.5], [5.5]], np.float32)
    for side, part in (("query", slice(2)), ("gallery", slice(2, 4))):
        frame = pd.DataFrame({"person_id": people[part], "camera_id": cameras[part]})
        write_embeddings(tmp_path / f"{side}.npz", frame, rows[part])
    given = [f"--{side}_embeddings={tmp_path / side}.npz" for side in ("query", "gallery")]
    assert evaluate.main(["evaluate", *given, f"--json={tmp_path / 'scores.json'}", "--breakdown"]) == 0
    assert json.loads((tmp_path / "scores.json").read_text())["top1"] == 1.0


def test_names_that_look_alike_are_told_before_the_scores(tmp_path, capsys):
    """On both sides together: query 1 of camera lobby, gallery 01 of camera Lobby; white space makes no difference."""
    rows = np.array([[0.0], [5.0]], np.float32)
    sides = {"query": (["1", "2 "], ["lobby", "lobby"]), "gallery": (["01", "2"], ["Lobby", " dock"])}
    for side, (people, cameras) in sides.items():
        np.savez(tmp_path / f"{side}.npz", embeddings=rows, person_id=people, camera_id=cameras, metric="euclidean")
    given = [f"--{side}_embeddings={tmp_path / side}.npz" for side in sides]
    assert evaluate.main(["evaluate", *given]) == 0
    output = capsys.readouterr().out
    assert ": 01 = 1. Write each person's name in one way" in output and ": Lobby = lobby. Write each camera" in output
    assert "1 of 2 queries have no match in the gallery" in output
    np.savez(tmp_path / "gallery.npz", embeddings=rows, person_id=["01", "02"], camera_id=["x", "y"])
    assert evaluate.main(["evaluate", *given]) == 1
    error = capsys.readouterr().err
    assert "query ids 1, 2 and gallery ids 01, 02 share no person" in error and error.count("\n") == 1


def test_missing_cameras_are_what_the_flag_says(tmp_path, capsys):
    rows = np.array([[0.0], [1.0], [2.0]], np.float32)
    cameras = pd.array([1, None, 2], dtype="Int64")
    frame = pd.DataFrame({"person_id": [1, 1, 2], "camera_id": cameras})
    write_embeddings(tmp_path / "side.npz", frame, rows)
    given = [f"--{side}_embeddings={tmp_path / 'side.npz'}" for side in ("query", "gallery")]
    assert evaluate.main(["evaluate", *given]) == 1
    assert "--missing_cameras=distinct" in capsys.readouterr().err
    assert evaluate.main(["evaluate", *given, "--missing_cameras=distinct"]) == 0
    assert "1 of 3 queries have no match in the gallery, left out: 2" in capsys.readouterr().out


def saved(tmp_path, query: dict, gallery: dict, width=2) -> list[str]:
    """Writes saved embeddings of these columns, each row a random point near that of its person; returns the flags."""
    random = np.random.default_rng(5)
    for side, columns in (("query", query), ("gallery", gallery)):
        rows = random.normal(size=(len(columns["person_id"]), width)) / 10
        rows += np.array([int(person) % 7 for person in columns["person_id"]])[:, None]
        np.savez(tmp_path / f"{side}.npz", embeddings=rows.astype(np.float32), metric="euclidean", **columns)
    return [f"--{side}_embeddings={tmp_path / side}.npz" for side in ("query", "gallery")]


def test_junk_in_saved_embeddings_is_nobodys_neighbor(tmp_path):
    """With and without the rows of id -1, as numbers or as text, every score is the same."""
    people, cameras = [1, 2, 3] * 6, [1, 2] * 9
    results = []
    for more in ([], [-1, -1], ["-1", "-1"]):
        ids = [str(person) for person in people] if "-1" in more else people
        gallery = {"person_id": np.array(ids + more), "camera_id": np.array(cameras + [1, 2][: len(more)])}
        query = {"person_id": np.array(ids[:6]), "camera_id": np.array([3] * 6)}
        given = saved(tmp_path, query, gallery)
        rows = dict(np.load(tmp_path / "gallery.npz"))
        rows["embeddings"][18:] = dict(np.load(tmp_path / "query.npz"))["embeddings"][:1]  # in the midst of things
        np.savez(tmp_path / "gallery.npz", **rows)
        flags = ["--rerank", "--k1=4", "--k2=2", "--expand_queries=3", f"--json={tmp_path / 'scores.json'}"]
        assert evaluate.main(["evaluate", *given, *flags]) == 0
        scores = json.loads((tmp_path / "scores.json").read_text())
        results.append((scores["gallery"], scores["per_query"]["first_match_rank"]))
    assert results[0] == results[1] and results[0][0] == results[2][0] == 18


def test_one_person_alone_has_scores_but_no_verification(tmp_path, capsys):
    given = saved(tmp_path, {"person_id": [4], "camera_id": [1]}, {"person_id": [4, 4], "camera_id": [2, 2]})
    assert evaluate.main(["evaluate", *given]) == 0
    output = capsys.readouterr().out
    assert "mAP %" in output and "no verification: every gallery image shows the identity" in output


def test_no_cameras_no_breakdown_by_cameras(tmp_path, refused):
    given = saved(tmp_path, {"person_id": [4, 5]}, {"person_id": [4, 5]})
    error = refused(evaluate.main, ["evaluate", *given, "--ignore=nothing", "--breakdown"])
    assert "no camera ids" in error


@pytest.mark.parametrize("path", [7, None])
def test_image_paths_that_are_no_text_do_no_harm(tmp_path, path):
    paths = pd.Series([path, None], dtype="Int64")
    frame = pd.DataFrame({"person_id": [4, 5], "camera_id": [1, 1], "image_path": paths})
    rows = np.array([[0.0], [1.0]], np.float32)
    write_embeddings(tmp_path / "query.npz", frame, rows)
    write_embeddings(tmp_path / "gallery.npz", frame.assign(camera_id=2), rows)
    given = [f"--{side}_embeddings={tmp_path / side}.npz" for side in ("query", "gallery")]
    assert evaluate.main(["evaluate", *given, f"--json={tmp_path / 'scores.json'}"]) == 0
    assert json.loads((tmp_path / "scores.json").read_text())["per_query"]["query"] == ["0", "1"]


def test_what_was_scored_is_kept_when_it_does_not_compare(run, tmp_path, artifact, synthetic_dir, refused):
    run(json_name="other.json")
    other = json.loads((tmp_path / "other.json").read_text())
    other["per_query"]["query"][0] = "somebody.jpg"
    (tmp_path / "other.json").write_text(json.dumps(other))
    given = [f"--artifact={artifact}", "--dataset=synthetic", f"--data_dir={synthetic_dir}"]
    flags = [f"--against={tmp_path / 'other.json'}", f"--json={tmp_path / 'kept.json'}"]
    assert "the runs have other queries: 1 of" in refused(evaluate.main, ["evaluate", *given, *flags])
    assert json.loads((tmp_path / "kept.json").read_text())["queries"] > 0


# --- What is refused ---


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--query_embeddings=q.npz"], "--gallery_embeddings is not set"),
        (["--query_embeddings=q.npz", "--gallery_embeddings=g.npz"], "--artifact and --query_embeddings exclude"),
        (
            ["--dataset=market1501", "--dataset=cuhk03", "--dataset=synthetic"],
            "4 datasets are named for 1 --data_dir",
        ),
        (["--dataset=duke"], "--dataset"),
        (["--data_dir=elsewhere", "--against=a.json"], "--against is for one dataset"),
        (["--calibrate_fpr=0"], "--calibrate_fpr=0.0, expected a rate between 0 and 1"),
        (["--calibrate_fpr=1e-9"], "a false positive rate of 1e-09 is wanted, but"),
        (["--gallery_identities=2"], "--gallery_identities is for --protocol=open_set or --calibrate_fpr"),
        (["--gallery_identities=6", "--calibrate_fpr=0.1"], "--gallery_identities=6, but of 6 identities"),
        (["--protocol=open_set", "--gallery_identities=0"], "--gallery_identities"),
        (["--calibrate_fpr=0.01", "--gallery_identities=3"], "12 queries of strangers cannot show less than 8.3e-02"),
        (["--calibrate_fpr=0.1", "--multi_query=mean"], "--calibrate_fpr is for images and distances as compare"),
        (["--multi_query=mean", "--tracklets=mean"], "exclude each other"),
        (["--tracklets=mean"], "pooled by tracklet_id, which the dataset does not give"),
        (["--ignore=same_tracklet"], "query_tracklet_ids is None"),
        (["--against=/no/such.json"], "/no/such.json"),
        (["--pictures=/proc/pictures"], "--pictures=/proc/pictures cannot be written"),
        (["--lambda_value=2"], "--lambda_value"),
        (["--bootstrap=-1"], "--bootstrap"),
    ],
)
def test_a_wrong_call_is_one_line(artifact, synthetic_dir, refused, flags, text):
    given = [f"--artifact={artifact}", "--dataset=synthetic", f"--data_dir={synthetic_dir}"]
    assert text in refused(evaluate.main, ["evaluate", *given, *flags])


@pytest.mark.parametrize("content", ["no json", "[]", '{"per_query": {}}', '{"per_query": {"query": ["a"]}}'])
def test_another_file_is_no_run_to_compare_with(artifact, synthetic_dir, tmp_path, refused, content):
    (tmp_path / "other.json").write_text(content)
    given = [f"--artifact={artifact}", "--dataset=synthetic", f"--data_dir={synthetic_dir}"]
    assert "other.json" in refused(evaluate.main, ["evaluate", *given, f"--against={tmp_path / 'other.json'}"])


def test_embeddings_of_two_widths_and_without_people(tmp_path, refused):
    frame = pd.DataFrame({"person_id": [1, 2], "camera_id": [1, 2]})
    write_embeddings(tmp_path / "two.npz", frame, np.zeros((2, 2), np.float32))
    write_embeddings(tmp_path / "three.npz", frame, np.zeros((2, 3), np.float32))
    write_embeddings(tmp_path / "nobody.npz", frame[["camera_id"]], np.zeros((2, 3), np.float32))
    for query, text in (("two", "query embeddings are 2 wide"), ("nobody", "the query embeddings name no person_id")):
        given = [f"--query_embeddings={tmp_path / query}.npz", f"--gallery_embeddings={tmp_path / 'three'}.npz"]
        assert text in refused(evaluate.main, ["evaluate", *given])


def test_the_reference_model_and_its_file_give_the_same_embeddings(artifact, sides, synthetic_dir):
    catalog = read_market1501(synthetic_dir)
    query = catalog[catalog.split == "query"]
    np.testing.assert_array_equal(embed_files(artifact_of(load_keras(artifact)), query.image_path), sides[0])
