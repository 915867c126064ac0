"""What TensorBoard reads of a run: numbers by step, once each, and histograms of the embeddings."""

import io

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from keras_reid.artifacts import artifact_of
from keras_reid.evaluation import score
from keras_reid.training.run_folder import RunFolder
from keras_reid.training.tensorboard import EmbeddingHistograms, draw_fixed_queries, write_events
from tests.conftest import tiny_embedder


def read(folder) -> dict:
    """Returns name -> {step: numbers}, as TensorBoard reads the folder."""
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return {
        name: [(event.step, make_ndarray(event.tensor_proto)) for event in events.Tensors(name)]
        for name in events.Tags()["tensors"]
    }


def test_numbers_stand_at_their_steps(tmp_path):
    write_events(tmp_path, 179, "epoch", {"training/loss": 0.5, "speed/images_per_second": 58})
    write_events(tmp_path, 358, "epoch", {"training/loss": 0.25})
    write_events(tmp_path, 358, "scores", {"scores/top1": 0.75})
    read_back = {name: [(step, float(value)) for step, value in points] for name, points in read(tmp_path).items()}
    assert read_back == {
        "training/loss": [(179, 0.5), (358, 0.25)],
        "speed/images_per_second": [(179, 58.0)],
        "scores/top1": [(358, 0.75)],
    }


def test_steps_that_are_made_again_stand_there_once(tmp_path):
    run = RunFolder(tmp_path)
    for step in (6, 12, 18):
        write_events(run.tensorboard, step, "epoch", {"training/loss": step / 100})
        write_events(run.tensorboard, step, "scores", {"scores/top1": step / 100})
    (run.tensorboard / "events.out.tfevents.1795388040.somewhere.77.0.v2").touch()  # TensorFlow's own stays
    run.forget_after(8)
    write_events(run.tensorboard, 6, "epoch", {"training/loss": 1.0})
    write_events(run.tensorboard, 12, "epoch", {"training/loss": 2.0})
    points = {name: [(step, float(value)) for step, value in values] for name, values in read(run.tensorboard).items()}
    assert points["training/loss"] == [(6, 1.0), (12, 2.0)]
    assert points["scores/top1"] == [(6, pytest.approx(0.06))]
    assert len(list(run.tensorboard.iterdir())) == 4


def test_histograms_hold_each_pair_once(tiny_catalog, tmp_path):
    """6 people, of each 4 of 6 images: 6 * (4 * 3 / 2) = 36 positive pairs, 24 * 23 / 2 - 36 = 240 negative ones."""
    images, embedder = tiny_catalog[tiny_catalog.split == "train"], tiny_embedder()
    found = EmbeddingHistograms(images).of(embedder, metric="euclidean")
    assert {name: len(values) for name, values in found.items()} == {
        "positive_distances": 36,
        "negative_distances": 240,
        "embedding_norms": 24,
    }
    norms = np.sort(found["embedding_norms"])
    squares = 2 * 24 * (norms**2).sum()  # over all ordered pairs: 2 n sum |x|^2 - 2 |sum x|^2
    distances = np.concatenate([found["positive_distances"], found["negative_distances"]])
    assert 0 < 2 * (distances**2).sum() <= squares * (1 + 1e-5)
    write_events(tmp_path, 6, "epoch", {}, found)
    ((step, buckets),) = read(tmp_path)["positive_distances"]
    assert step == 6 and buckets[:, 2].sum() == 36  # left edge, right edge, count


def test_histograms_need_no_positive_pair(tiny_catalog, tmp_path):
    images = tiny_catalog[tiny_catalog.split == "train"].drop_duplicates("person_id")
    found = EmbeddingHistograms(images).of(tiny_embedder(), metric="cosine")
    write_events(tmp_path, 1, "epoch", {}, found)
    assert set(read(tmp_path)) == {"negative_distances", "embedding_norms"}


def test_the_ranked_lists_of_the_same_queries_are_a_picture(tiny_catalog, tmp_path):
    one, other = (score(artifact_of(tiny_embedder()), tiny_catalog) for _ in range(2))
    picture = draw_fixed_queries(one)
    assert picture == draw_fixed_queries(one) != draw_fixed_queries(other)
    for step, of in ((6, other), (12, other), (6, one)):  # a step that is made again replaces its picture
        write_events(tmp_path, step, "scores", {"scores/top1": 0.5}, pictures={"ranked_lists": draw_fixed_queries(of)})
    points = read(tmp_path)["ranked_lists"]
    assert [step for step, _ in points] == [6, 12]
    width, height, content = points[0][1]
    assert content == picture and Image.open(io.BytesIO(content)).size == (int(width), int(height))


def test_a_run_shows_its_ranked_lists_at_each_evaluation(finished_run):
    shown = read(finished_run / "tensorboard")
    assert [step for step, _ in shown["ranked_lists"]] == [step for step, _ in shown["scores/top1"]]
    assert all(content.startswith(b"\x89PNG") for _, (_, _, content) in shown["ranked_lists"])
