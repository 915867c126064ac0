"""The SavedModel's signatures, asked as TensorFlow Serving asks: a TF1 session, tensors by name."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from keras_reid.artifacts import artifact_of, open_artifact, update_metadata, write_embeddings
from keras_reid.artifacts.formats.search import Gallery, nearest, read_gallery
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf
from tests.artifacts.formats.versions import write_version
from tests.conftest import tiny_embedder

SIGNATURES = ["compare", "search", "serve_bytes", "serve_float", "serving_default"]


def metadata(metric="euclidean", threshold=None) -> dict:
    # The scores hold a key of the same name, deeper down.
    return {
        "format_version": 1,
        "embedding_size": 8,
        "image_size": [32, 16],
        "scores": {"threshold": 99.0, "cmc": [0.5, 1.0]},
        "metric": metric,
        "threshold": threshold,
        "dataset": 'a "threshold": 7,',
    }


def images(count: int, height: int = 32, width: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


class Session:
    """A SavedModel in a TF1 session, as TensorFlow Serving loads it."""

    def __init__(self, folder):
        self.graph = tf.Graph()
        self.session = tf.compat.v1.Session(graph=self.graph)
        with self.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self.session, ["serve"], str(folder))
        self.signatures = {name: one for name, one in loaded.signature_def.items() if not name.startswith("__")}

    def ask(self, signature: str, **inputs) -> dict:
        described = self.signatures[signature]
        assert sorted(inputs) == sorted(described.inputs)
        feed = {described.inputs[name].name: value for name, value in inputs.items()}
        return self.session.run({name: one.name for name, one in described.outputs.items()}, feed)


@pytest.fixture(scope="module", params=["euclidean", "cosine"])
def served(request, tmp_path_factory):
    """(embedder, folder, session, metric), with a gallery of 60 people of whom one is junk, and a threshold."""
    folder, embedder = tmp_path_factory.mktemp("served"), tiny_embedder()
    frame = pd.DataFrame({"person_id": [-1, *range(100, 159)]})
    write_embeddings(folder / "gallery.npz", frame, artifact_of(embedder).embed(images(60)), metric=request.param)
    gallery = read_gallery(folder / "gallery.npz", metric=request.param, embedding_size=8)
    described = metadata(request.param, threshold=0.03)
    exported = write_version(embedder, folder / "embedder", described, gallery=gallery, neighbors=7)
    return embedder, exported, Session(exported), request.param


def distances(first: np.ndarray, second: np.ndarray, metric: str) -> np.ndarray:
    """In float64, by the definition."""
    first, second = first.astype(float), second.astype(float)
    if metric == "euclidean":
        return np.sqrt(((first - second) ** 2).sum(-1))
    return 1 - (first * second).sum(-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)


def test_the_signatures_and_their_tensors(served):
    described = served[2].signatures
    assert sorted(described) == SIGNATURES
    shapes = {}
    for name, signature in described.items():
        for tensors in (signature.inputs, signature.outputs):
            for key, info in tensors.items():
                shapes[name, key] = (info.dtype, [axis.size for axis in info.tensor_shape.dim])
    any_images, string, uint8 = [-1, -1, -1, 3], tf.string.as_datatype_enum, tf.uint8.as_datatype_enum
    floats = tf.float32.as_datatype_enum
    assert shapes == {
        ("serving_default", "images"): (uint8, any_images),
        ("serving_default", "embedding"): (floats, [-1, 8]),
        ("serve_float", "images"): (floats, any_images),
        ("serve_float", "embedding"): (floats, [-1, 8]),
        ("serve_bytes", "image_bytes"): (string, [-1]),
        ("serve_bytes", "embedding"): (floats, [-1, 8]),
        ("compare", "first_images"): (uint8, any_images),
        ("compare", "second_images"): (uint8, any_images),
        ("compare", "distance"): (floats, [-1]),
        ("compare", "same_person"): (tf.bool.as_datatype_enum, [-1]),
        ("search", "images"): (uint8, any_images),
        ("search", "ids"): (tf.int64.as_datatype_enum, [-1, 7]),
        ("search", "rows"): (tf.int32.as_datatype_enum, [-1, 7]),
        ("search", "distances"): (floats, [-1, 7]),
    }


@pytest.mark.parametrize("size", [(32, 16), (128, 64), (7, 11), (1, 1)])
def test_images_in_three_forms_get_the_reference_answer(served, size):
    embedder, _, session, _ = served
    batch = images(3, *size)
    reference = artifact_of(embedder).embed(batch)
    files = [tf.io.encode_png(image).numpy() for image in batch]
    for signature, value in (
        ("serving_default", {"images": batch}),
        ("serve_float", {"images": batch.astype(np.float32)}),
        ("serve_bytes", {"image_bytes": files}),
    ):
        np.testing.assert_allclose(session.ask(signature, **value)["embedding"], reference, rtol=1e-5, atol=1e-6)


def test_images_of_the_network_s_own_size_reach_it_bit_by_bit(served):
    """A float image with fractions that a resize would round: the network's own answer, bit for bit."""
    embedder, _, session, _ = served
    fractions = np.random.default_rng(0).uniform(0, 255, (2, 32, 16, 3)).astype(np.float32)
    direct = tf.function(lambda x: embedder(x, training=False))(fractions).numpy()
    np.testing.assert_array_equal(session.ask("serve_float", images=fractions)["embedding"], direct)
    whole = session.ask("serve_float", images=images(2).astype(np.float32))["embedding"]
    np.testing.assert_array_equal(session.ask("serving_default", images=images(2))["embedding"], whole)


def test_the_resize_is_bilinear_with_half_pixel_centers_and_no_antialias(served):
    """A 64x32 image halves to the mean of 2x2 pixels; antialiasing would mix in their neighbors."""
    embedder, _, session, _ = served
    large = images(2, 64, 32)
    halved = large.reshape(2, 32, 2, 16, 2, 3).astype(np.float64).mean((2, 4)).astype(np.float32)
    expected = session.ask("serve_float", images=halved)["embedding"]
    np.testing.assert_allclose(
        session.ask("serving_default", images=large)["embedding"], expected, rtol=1e-5, atol=1e-6
    )


def test_compare_gives_distance_and_says_whether_it_is_the_same_person(served):
    embedder, _, session, metric = served
    first, second = images(20, 40, 20), images(20, 64, 32, seed=1)
    second[0, ::2, ::2] = second[0, 1::2, ::2] = second[0, ::2, 1::2] = second[0, 1::2, 1::2]
    reference = artifact_of(embedder)
    expected = distances(reference.embed(first), reference.embed(second), metric)
    answer = session.ask("compare", first_images=first, second_images=second)
    np.testing.assert_allclose(answer["distance"], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(answer["same_person"], answer["distance"] <= np.float32(0.03))
    same = session.ask("compare", first_images=first, second_images=first)
    assert (same["distance"] == 0).all() and same["same_person"].all()


def test_a_threshold_calibrated_later_is_the_one_that_compare_uses(served, tmp_path):
    embedder, _, session, metric = served
    exported = write_version(embedder, tmp_path, metadata(metric, threshold=1e-9))
    pair = {"first_images": images(9), "second_images": images(9, seed=3)}
    before = Session(exported).ask("compare", **pair)
    middle = float(np.median(before["distance"]))
    update_metadata(exported, {"threshold": middle, "false_positive_rate": 0.001})
    after = Session(exported).ask("compare", **pair)
    np.testing.assert_array_equal(after["same_person"], after["distance"] <= np.float32(middle))
    assert not before["same_person"].any() and after["same_person"].any() and not after["same_person"].all()
    assert json.loads((exported / "assets" / "reid.json").read_text())["threshold"] == middle


def test_without_a_threshold_compare_says_no_more_than_the_distance(tmp_path):
    session = Session(write_version(tiny_embedder(), tmp_path, metadata()))
    assert sorted(session.signatures) == [name for name in SIGNATURES if name != "search"]
    assert list(session.signatures["compare"].outputs) == ["distance"]


def test_search_finds_what_a_sort_of_all_distances_finds(served):
    embedder, _, session, metric = served
    reference, queries = artifact_of(embedder), images(5, seed=9)
    queries[0] = images(60)[33]
    everyone = distances(reference.embed(queries)[:, None], reference.embed(images(60))[None], metric)
    everyone[:, 0] = np.inf  # junk
    expected = np.argsort(everyone, axis=1, kind="stable")[:, :7]
    answer = session.ask("search", images=queries)
    np.testing.assert_array_equal(answer["rows"], expected)
    np.testing.assert_array_equal(answer["ids"], expected + 99)
    np.testing.assert_allclose(answer["distances"], np.take_along_axis(everyone, expected, 1), rtol=1e-4, atol=1e-6)
    assert answer["ids"][0, 0] == 132 and answer["distances"][0, 0] < 1e-6


def test_search_tells_near_duplicates_apart_far_from_zero(tmp_path):
    """Rows 1e4 from the origin and 1e-2 apart: float32 products alone have errors of 10 there."""
    steps = np.random.default_rng(0).permutation(200)
    embeddings = np.zeros((200, 3), np.float32)
    embeddings[:, 0], embeddings[:, 1] = 1e4, 0.01 * steps
    gallery = Gallery(np.arange(200), embeddings, np.arange(200, dtype=np.int32)).as_variables("euclidean")
    found = nearest(tf.constant([[1e4, 0.503, 0.0]]), gallery, "euclidean", 3)
    assert [steps[row] for row in found["rows"].numpy()[0]] == [50, 51, 49]
    np.testing.assert_allclose(found["distances"].numpy()[0], [0.003, 0.007, 0.013], atol=1e-5)


def test_search_answers_with_names_and_with_all_of_a_small_gallery(tmp_path):
    embedder = tiny_embedder()
    write_embeddings(
        tmp_path / "gallery.csv", pd.DataFrame({"person_id": ["Zoë", "Ann"]}), artifact_of(embedder).embed(images(2))
    )
    gallery = read_gallery(tmp_path / "gallery.csv", metric="euclidean", embedding_size=8)
    session = Session(write_version(embedder, tmp_path / "embedder", metadata(), gallery=gallery))
    answer = session.ask("search", images=images(2)[1:])
    assert [name.decode() for name in answer["ids"][0]] == ["Ann", "Zoë"] and answer["rows"].tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("frame", "width", "metric", "text"),
    [
        ({"person_id": [1, 2]}, 9, "euclidean", "of width 9, the network gives 8"),
        ({"person_id": [1, 2]}, 8, "cosine", "compared by cosine, the network by euclidean"),
        ({"person_id": [1, None]}, 8, "euclidean", "names no person_id in some rows"),
        ({"camera_id": [1, 2]}, 8, "euclidean", "names no person_id and no image_path"),
        ({"person_id": [-1, -1]}, 8, "euclidean", "holds junk"),
    ],
)
def test_galleries_that_do_not_fit_are_refused(tmp_path, frame, width, metric, text):
    write_embeddings(tmp_path / "g.npz", pd.DataFrame(frame), np.ones((2, width)), metric=metric)
    with pytest.raises(ReidError, match=text):
        read_gallery(tmp_path / "g.npz", metric="euclidean", embedding_size=8)


def test_the_warm_up_asks_each_signature_what_it_takes(served):
    """TensorFlow Serving reads records of PredictionLog there, and sends them before it says that it is ready."""
    from tensorflow_serving.apis import prediction_log_pb2

    _, exported, session, _ = served
    path = exported / "assets.extra" / "tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))
    ]
    requests = [log.predict_log.request for log in logs]
    assert sorted(request.model_spec.signature_name for request in requests) == SIGNATURES
    assert {request.model_spec.name for request in requests} == {"embedder"}
    for request in requests:
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        answer = session.ask(request.model_spec.signature_name, **inputs)
        assert all(len(value) == 1 for value in answer.values())


def encoded(pixels: np.ndarray, suffix: str, mode: str | None = None, **options) -> bytes:
    file, image = io.BytesIO(), Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, suffix, **options)
    return file.getvalue()


def sixteen_bit_png(pixels: np.ndarray) -> bytes:
    return tf.io.encode_png(pixels.astype(np.uint16) * 256 + 200).numpy()


def smooth(height: int = 48, width: int = 40) -> np.ndarray:
    """JPEG keeps it well, and it has colors."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 4, columns * 5, 255 - rows * 2 - columns], -1).clip(0, 255).astype(np.uint8)


def pixels_of(contents: bytes) -> np.ndarray:
    """By Pillow, which is not what the graph decodes with."""
    return np.asarray(Image.open(io.BytesIO(contents)).convert("RGB"))


@pytest.mark.parametrize(
    "contents",
    [
        encoded(smooth(), "JPEG", quality=90),
        encoded(smooth(), "JPEG", quality=90, progressive=True),
        encoded(smooth(), "JPEG", mode="L"),
        encoded(smooth(), "JPEG", mode="CMYK", quality=95),
        encoded(smooth(), "PNG"),
        encoded(smooth(), "PNG", mode="L"),
        encoded(smooth(), "PNG", mode="RGBA"),
        encoded(smooth(), "PNG", mode="P"),
        encoded(smooth(), "BMP"),
        encoded(smooth(1, 1), "PNG"),
        encoded(smooth(1, 1), "JPEG"),
    ],
    ids=[
        "JPEG",
        "progressive",
        "gray JPEG",
        "CMYK",
        "PNG",
        "gray PNG",
        "RGBA",
        "palette",
        "BMP",
        "1x1 PNG",
        "1x1 JPEG",
    ],
)
def test_files_of_every_kind_get_the_answer_of_their_pixels(served, contents):
    embedder, _, session, _ = served
    actual = session.ask("serve_bytes", image_bytes=[contents])["embedding"]
    expected = artifact_of(embedder).embed(pixels_of(contents)[None])
    np.testing.assert_allclose(actual, expected, atol=0.01 * np.abs(expected).max())


def test_sixteen_bits_a_channel_keep_their_upper_eight(served):
    embedder, _, session, _ = served
    actual = session.ask("serve_bytes", image_bytes=[sixteen_bit_png(smooth())])["embedding"]
    np.testing.assert_allclose(actual, artifact_of(embedder).embed(smooth()[None]), rtol=1e-5, atol=1e-6)


def test_an_empty_batch_has_no_embeddings(served):
    session = served[2]
    for signature, inputs in (
        ("serve_bytes", {"image_bytes": np.array([], object)}),
        ("serving_default", {"images": images(0)}),
        ("serve_float", {"images": images(0).astype(np.float32)}),
    ):
        assert session.ask(signature, **inputs)["embedding"].shape == (0, 8)
    assert session.ask("compare", first_images=images(0), second_images=images(0))["distance"].shape == (0,)
    assert session.ask("search", images=images(0))["ids"].shape == (0, 7)


@pytest.mark.parametrize(
    ("contents", "text"),
    [
        (b"no image at all", "Unknown image file format"),
        (b"", "Input is empty"),
        (encoded(smooth(), "JPEG")[:400], "Invalid JPEG data"),
        (encoded(smooth(), "PNG")[:100], "Invalid PNG data"),
        (b"\xff\xd8\xff\xe0 then text", "Invalid JPEG data"),
    ],
    ids=["text", "nothing", "truncated JPEG", "truncated PNG", "JPEG by its first bytes alone"],
)
def test_what_is_no_image_is_a_clear_error_and_the_next_one_is_answered(served, contents, text):
    session, good = served[2], encoded(smooth(), "PNG")
    with pytest.raises(tf.errors.InvalidArgumentError, match=text):
        session.ask("serve_bytes", image_bytes=[good, contents])
    assert session.ask("serve_bytes", image_bytes=[good, good])["embedding"].shape == (2, 8)


@pytest.mark.once
@pytest.mark.parametrize("served", ["euclidean"], indirect=True)
@pytest.mark.parametrize("suffix", ["JPEG", "PNG"])
def test_a_photo_of_144_million_pixels_is_answered(served, suffix):
    """Each pixel is one of its block's: a bilinear resize meets whole blocks."""
    embedder, _, session, _ = served
    blocks = images(1, 24, 24)[0]
    large = Image.fromarray(blocks).resize((12_000, 12_000), Image.NEAREST)
    file = io.BytesIO()
    large.save(file, suffix, **({"quality": 95} if suffix == "JPEG" else {"compress_level": 1}))
    actual = session.ask("serve_bytes", image_bytes=[file.getvalue()])["embedding"]
    expected = artifact_of(embedder).embed(np.asarray(large)[None])
    np.testing.assert_allclose(actual, expected, atol=0.01 * np.abs(expected).max())


def test_wrong_requests_are_clear_errors(served):
    session = served[2]
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many first_images as second_images"):
        session.ask("compare", first_images=images(2), second_images=images(3))
    with pytest.raises(tf.errors.InvalidArgumentError, match="non-zero size"):
        session.ask("serving_default", images=images(1, 0, 5))
    assert session.ask("serving_default", images=images(1))["embedding"].shape == (1, 8)


def test_the_artifact_is_the_signature_serving_default(served):
    embedder, exported, session, metric = served
    artifact = open_artifact(exported)
    assert (artifact.metric, artifact.threshold) == (metric, 0.03)
    batch = images(3, 50, 20)
    np.testing.assert_allclose(
        artifact.embed(batch), session.ask("serving_default", images=batch)["embedding"], rtol=1e-5
    )
