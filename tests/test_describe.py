"""`python -m keras_reid.describe`: a stranger's ONNX against NumPy, SavedModel and TFLite against the same of ours."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from keras_reid import compare, describe, embed, evaluate, search
from keras_reid.__main__ import entry_point
from keras_reid.artifacts import artifact_of, describe_embedder, describe_network, open_artifact, update_metadata
from keras_reid.artifacts.formats import tflite
from keras_reid.data.images import resize_images
from keras_reid.errors import ReidError
from keras_reid.files import write_text
from keras_reid.keras2 import tf
from keras_reid.models import load_keras, save_keras
from tests.artifacts.foreign_files import SIZE, features, keras_networks, without_normalization, write_onnx
from tests.conftest import tiny_embedder

PIXELS = np.random.default_rng(2).integers(0, 256, (6, *SIZE, 3), np.uint8)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
OPTIONS = {"metric": "cosine", "normalize": "imagenet"}


@pytest.fixture
def onnx_file(tmp_path):
    """Writes an ONNX network; the test is skipped where onnx or onnxruntime is missing."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    return lambda *more, name="net.onnx", **options: write_onnx(tmp_path / name, *more, **options)


# --- ONNX, against NumPy ---


@pytest.mark.parametrize(("channels", "batch"), [("rgb", "N"), ("bgr", 1), ("rgb", 4)])
def test_an_onnx_network_embeds_as_numpy_computes(onnx_file, tmp_path, channels, batch):
    """A batch of any size, of one image, and of four, which six images do not fill."""
    path = onnx_file(shape=(batch, 3, *SIZE))
    before = path.read_bytes()
    artifact = describe_network(path, tmp_path / "out", channels=channels, **OPTIONS)
    values = (PIXELS / 255 - MEAN) / STD
    values = values[..., ::-1] if channels == "bgr" else values
    expected = features(values.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(artifact.embed(PIXELS), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(open_artifact(tmp_path / "out").embed(PIXELS[:3]), artifact.embed(PIXELS)[:3])
    assert artifact.image_size == SIZE and artifact.metric == "cosine" and artifact.kind == "described"
    assert artifact.metadata["description"]["batch_size"] == (None if batch == "N" else batch)
    assert path.read_bytes() == before and artifact.embed(PIXELS[:0]).shape == (0, 5)
    # Other sizes are resized as all images of the package are.
    large = np.random.default_rng(3).integers(0, 256, (1, 21, 13, 3), np.uint8)
    resized = (resize_images(large, SIZE).numpy() / 255 - MEAN) / STD
    resized = resized[..., ::-1] if channels == "bgr" else resized
    np.testing.assert_allclose(artifact.embed(large), features(resized.transpose(0, 3, 1, 2)), rtol=1e-4, atol=1e-5)


def test_other_normalizations_open_sizes_and_unit_length(onnx_file, tmp_path):
    path = onnx_file(shape=("N", 3, "height", "width"))
    artifact = describe_network(
        path, tmp_path / "half", metric="euclidean", normalize="half", image_size=SIZE, normalize_embedding=True
    )
    rows = features((PIXELS / 127.5 - 1).transpose(0, 3, 1, 2))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(artifact.embed(PIXELS), rows, rtol=1e-4, atol=1e-5)
    given = {"mean": [10, 20, 30], "std": [2, 4, 8], "image_size": SIZE}
    own = describe_network(path, tmp_path / "own", metric="euclidean", **given)
    expected = features(((PIXELS - [10.0, 20, 30]) / [2, 4, 8]).transpose(0, 3, 1, 2))
    np.testing.assert_allclose(own.embed(PIXELS), expected, rtol=1e-4, atol=1e-4)
    assert artifact.network_fingerprint != own.network_fingerprint


def test_whole_numbers_and_a_named_output(onnx_file, tmp_path):
    from onnx import TensorProto

    scaled = ("Mul", ["features", "two"], ["twice"], {})
    two = np.float32(2).reshape(())
    path = onnx_file(scaled, outputs=("features", "twice"), dtype=TensorProto.UINT8, two=two)
    artifact = describe_network(path, tmp_path / "out", metric="cosine", normalize="raw", output_name="twice")
    expected = 2 * features(PIXELS.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(artifact.embed(PIXELS), expected, rtol=1e-4)
    with pytest.raises(ReidError, match="'images' uint8 .N, 3, 8, 6., whole numbers from 0 to 255: expected normalize"):
        describe_network(path, tmp_path / "no", output_name="twice", **OPTIONS)
    with pytest.raises(ReidError, match="2 outputs, set output_name to one of: 'features' float32 .*'twice'"):
        describe_network(path, tmp_path / "no", metric="cosine", normalize="raw")


def test_a_network_that_says_any_number_and_means_one_is_asked_one_by_one(onnx_file, tmp_path):
    path = onnx_file(("Reshape", ["features", "one"], ["row"], {}), outputs=("row",), one=np.array([1, -1]))
    artifact = describe_network(path, tmp_path / "out", **OPTIONS)
    assert artifact.metadata["description"]["batch_size"] == 1
    expected = features(((PIXELS / 255 - MEAN) / STD).transpose(0, 3, 1, 2))
    np.testing.assert_allclose(artifact.embed(PIXELS), expected, rtol=1e-4, atol=1e-5)


def test_the_copy_holds_the_weights_beside_it_and_its_fingerprint_no_names(onnx_file, tmp_path):
    (tmp_path / "theirs").mkdir()
    path = onnx_file(name="theirs/net.onnx", external=True)
    assert (tmp_path / "theirs" / "net.onnx.data").exists()
    first = describe_network(path, tmp_path / "out", **OPTIONS)
    expected = first.embed(PIXELS)
    shutil.rmtree(tmp_path / "theirs")
    np.testing.assert_array_equal(open_artifact(tmp_path / "out").embed(PIXELS), expected)
    files = [onnx_file(name=name) for name in ("a.onnx", "b.onnx")]
    one, other = (describe_network(path, tmp_path / path.stem, **OPTIONS) for path in files)
    assert one.network_fingerprint == other.network_fingerprint != first.network_fingerprint


# --- Where it lies, by flags of any command ---


def test_flags_of_any_command_describe_a_network_at_its_first_use(onnx_file, tmp_path, capsys, refused):
    path = onnx_file(shape=("N", 3, "height", "width"))
    photos = [tmp_path / "0.png", tmp_path / "1.png"]
    for photo, pixels in zip(photos, PIXELS):
        Image.fromarray(pixels).save(photo)
    arguments = ["compare", f"--artifact={path}", *map(str, photos)]
    line = refused(compare.main, arguments)
    assert "such as --normalize=imagenet --metric=cosine --input_size=256x128, or describe it: python -m" in line
    assert "--metric is not set" in refused(compare.main, [*arguments, "--normalize=imagenet"])
    assert "expected --normalize=imagenet" in refused(compare.main, [*arguments, "--metric=cosine"])
    assert "set --input_size" in refused(compare.main, [*arguments, "--metric=cosine", "--normalize=imagenet"])
    given = ["--input_size=8x6", "--normalize=imagenet", "--metric=cosine"]
    assert not (tmp_path / "net.onnx.reid.json").exists() and compare.main([*arguments, *given]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"described once, in {path}.reid.json: from now on --artifact={path} is enough")
    first, second = features(((PIXELS[:2] / 255 - MEAN) / STD).transpose(0, 3, 1, 2))
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert float(said[1].split()[-1]) == pytest.approx(1 - cosine, rel=1e-3)
    for again in (arguments, [*arguments, *given[1:]]):
        assert compare.main(again) == 0
        assert capsys.readouterr().out.splitlines()[0] == said[1]
    for flag, held in (("normalize=half", "123.675"), ("metric=euclidean", "cosine"), ("input_size=9x6", "[8, 6]")):
        line = refused(compare.main, [*arguments, f"--{flag}"])
        assert f"is described otherwise: --{flag}, but {path}.reid.json says" in line and held in line

    assert describe.main(["describe", f"--artifact={path}", f"--output={tmp_path / 'copy'}", *given]) == 0
    one, other = open_artifact(path), open_artifact(tmp_path / "copy")
    assert one.network_fingerprint == other.network_fingerprint
    np.testing.assert_array_equal(one.embed(PIXELS), other.embed(PIXELS))
    update_metadata(path, {"threshold": 0.25})
    assert open_artifact(path).threshold == 0.25
    assert "exists already" in refused(describe.main, ["describe", f"--artifact={path}", *given])
    onnx_file(shape=(1, 3, *SIZE))
    assert "is not what it was. Remove it, and describe" in refused(compare.main, arguments)


def test_a_described_file_is_evaluated_and_enrolled(theirs, tmp_path, synthetic_dir, capsys, refused):
    pytest.importorskip("lancedb", reason="the extra gallery is not installed")
    saved = shutil.copytree(theirs / "saved", tmp_path / "saved")
    given = ["--output_name=features", "--mean=128,128,128", "--std=128,128,128", "--metric=euclidean"]
    data = ["--dataset=synthetic", f"--data_dir={synthetic_dir}", "--bootstrap=0", "--noverification"]
    scores = []
    for more in (given, ["--metric=cosine"]):  # for evaluate alone, it is how to compare this time
        assert evaluate.main(["evaluate", f"--artifact={saved}", *data, *more, f"--json={tmp_path / 'a.json'}"]) == 0
        scores.append(json.loads((tmp_path / "a.json").read_text())["mean_average_precision"])
    assert open_artifact(saved).metric == "euclidean" and (tmp_path / "saved.reid.json").is_file()
    assert (
        evaluate.main(["evaluate", f"--artifact={theirs / 'ours.keras'}", *data, f"--json={tmp_path / 'b.json'}"]) == 0
    )
    assert scores[0] == pytest.approx(json.loads((tmp_path / "b.json").read_text())["mean_average_precision"])

    tflite_file = shutil.copy(theirs / "network.tflite", tmp_path)
    people = [f"--gallery={tmp_path / 'people'}", f"--artifact={tflite_file}"]
    images = f"--images={synthetic_dir / 'query'}"
    assert entry_point("gallery").main(["gallery", "add", *people, images, *given[1:]]) == 0
    photo = str(next((synthetic_dir / "query").glob("*.jpg")))
    capsys.readouterr()
    assert search.main(["search", *people, photo, "--top=1"]) == 0
    assert " 0.0000 " in capsys.readouterr().out
    line = refused(embed.main, ["embed", f"--artifact={theirs / 'ours.keras'}", images, "--output=a.npz", given[-1]])
    assert "is a Keras file, which needs no description" in line


# --- Refused ---

SIGN = {"zero": np.float32(0).reshape(()), "minus": np.float32(-1).reshape(())}
BAD = {
    "softmax": ([("Softmax", ["features"], ["x"], {"axis": 1})], {}, {}, "probabilities of a classifier"),
    "nan": ([("Mul", ["features", "minus"], ["y"], {}), ("Log", ["y"], ["x"], {})], {}, {}, "holds NaN or inf"),
    "constant": ([("Mul", ["features", "zero"], ["x"], {})], {}, {}, "does not depend on the picture"),
    "map": ([("Identity", ["map"], ["x"], {})], {}, {}, r"'x' is \[1, 5, 3, 2\] for 1 pictures, expected an embedding"),
    "number": ([("ReduceMean", ["features"], ["x"], {"axes": [1]})], {}, {}, "one number each"),
    "batch": (
        [("ReduceMean", ["features"], ["m"], {"axes": [0]}), ("Add", ["features", "m"], ["x"], {})],
        {},
        {},
        "training mode",
    ),
    "unknown": ([("Magic", ["features"], ["x"], {"domain": "somebody"})], {}, {}, "is no ONNX model that onnxruntime"),
    "size": ([], {}, {"image_size": (16, 8)}, r"input_size=16x8, but the input is .*3, 8, 6\], of height x width 8x6"),
    "side": ([], {"shape": ("N", 3, "h", "w")}, {"image_size": (99999, 9)}, "input_size=99999x9, expected 1 to 4096"),
    "layout": ([], {}, {"layout": "nhwc"}, "layout=nhwc, but the input is .*: leave it out, or set layout=nchw"),
    "open": ([], {"shape": ("N", 3, "h", "w")}, {}, "leaves the size open: set input_size"),
    "too small": ([], {"shape": ("N", 3, "h", "w")}, {"image_size": (2, 2)}, r"cannot be run on \[1, 3, 2, 2\]"),
    "all open": ([], {"shape": ("N", "c", "h", "w")}, {}, "may be read in two ways: set layout"),
    "gray": ([], {"shape": ("N", 1, 8, 6)}, {}, r"expected pictures of three channels"),
    "input": ([], {}, {"input_name": "y"}, r"input_name=y is none of the file's: expected one of: 'images' float32"),
    "output": ([], {}, {"output_name": "y"}, "output_name=y is none of the file's"),
    "both": ([], {}, {"mean": [1, 1, 1]}, "expected normalize=imagenet, .*, or both mean=R,G,B and std=R,G,B"),
    "neither": ([], {}, {"normalize": None}, "expected normalize=imagenet, .*, or both mean=R,G,B and std=R,G,B"),
    "std": ([], {}, {"normalize": None, "mean": [0, 0, 0], "std": [1, 0, 1]}, "std=1,0,1, expected three numbers abo"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_embedder_is_refused_and_nothing_is_written(onnx_file, tmp_path, name, capfd):
    more, options, flags, text = BAD[name]
    outputs = ("x",) if more else ("features",)
    path = onnx_file(*more, outputs=outputs, **options, **(SIGN if more else {}))
    with pytest.raises(ReidError, match=text):
        describe_network(path, tmp_path / "out", **{**OPTIONS, **flags})
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert capfd.readouterr().err == ""


def test_files_of_other_kinds_are_refused(tmp_path, monkeypatch):
    embedder = tiny_embedder()
    for name in ("net.pt", "text.onnx", "text.tflite", "saved/saved_model.pb"):
        write_text(tmp_path / name, "TFL3 no network")
    keras_file = save_keras(embedder, tmp_path / "ours.keras", metadata=describe_embedder(embedder))
    ours = tflite.write(embedder, tmp_path / "ours.tflite", describe_embedder(embedder))
    (tmp_path / "cut.tflite").write_bytes(ours.read_bytes()[:3000])
    cases = {
        "net.pt": "ends in .pt: expected an .onnx or .tflite file",
        "text.tflite": "is no TFLite model that TensorFlow Lite runs",
        "cut.tflite": "is no TFLite model that TensorFlow Lite runs",
        "saved": "is no SavedModel that TensorFlow loads",
        "gone.onnx": "no artifact at",
        keras_file.name: "is a Keras file, which needs no description",
        ours.name: "holds a reid.json: it is an artifact as it is",
    }
    for name, text in cases.items():
        with pytest.raises(ReidError, match=text):
            describe_network(tmp_path / name, tmp_path / "out", **OPTIONS)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ReidError, match=r"needs onnxruntime, .* pip install 'keras_reid\[onnx\]'"):
        describe_network(tmp_path / "text.onnx", tmp_path / "out", **OPTIONS)


# --- SavedModel and TFLite, against the same network of ours ---


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """One network: as ours, and as a SavedModel and a TFLite file of somebody else's, described by the command."""
    folder = tmp_path_factory.mktemp("theirs")
    embedder = keras_networks(folder)
    save_keras(embedder, folder / "ours.keras", metadata=describe_embedder(embedder))
    given = ["--metric=euclidean", "--mean=128,128,128", "--std=128,128,128"]
    for name, more in (("saved", ["--output_name=features"]), ("network.tflite", ["--input_size=32x16"])):
        arguments = [f"--artifact={folder / name}", f"--output={folder / f'described-{name}'}", *given, *more]
        assert describe.main(["describe", *arguments]) == 0
    return folder


@pytest.mark.parametrize("name", ["saved", "network.tflite"])
def test_it_scores_and_embeds_as_ours_and_can_be_calibrated(theirs, tmp_path, synthetic_dir, name, capsys):
    place = shutil.copytree(theirs / f"described-{name}", tmp_path / "network")
    data = ["--dataset=synthetic", f"--data_dir={synthetic_dir}", "--bootstrap=0"]
    scores = []
    for artifact in (theirs / "ours.keras", place):
        more = ["--calibrate_fpr=0.05"] if artifact == place else ["--noverification"]
        given = [f"--artifact={artifact}", *data, *more, f"--json={tmp_path / 'scores.json'}"]
        assert evaluate.main(["evaluate", *given]) == 0
        scores.append(json.loads((tmp_path / "scores.json").read_text()))
    assert scores[0]["per_query"]["first_match_rank"] == scores[1]["per_query"]["first_match_rank"]
    assert scores[0]["mean_average_precision"] == pytest.approx(scores[1]["mean_average_precision"], abs=1e-9)
    assert "signature compare" not in capsys.readouterr().out

    photos = sorted(map(str, (synthetic_dir / "query").glob("*.jpg")))[:2]
    assert compare.main(["compare", f"--artifact={place}", *photos]) == 0
    said = capsys.readouterr().out
    assert "the threshold of" in said and "on synthetic" in said
    output = tmp_path / "embeddings.npz"
    given = [f"--artifact={place}", f"--images={synthetic_dir / 'query'}", f"--output={output}"]
    assert embed.main(["embed", *given]) == 0
    pixels = [np.asarray(Image.open(photo)) for photo in photos]
    expected = artifact_of(load_keras(theirs / "ours.keras")).embed(pixels)
    np.testing.assert_allclose(np.load(output)["embeddings"][:2], expected, rtol=1e-3, atol=1e-4)
    opened = open_artifact(place)
    assert opened.network_fingerprint == open_artifact(theirs / f"described-{name}").network_fingerprint


def test_whole_numbers_of_int8_are_scaled_as_the_file_says(tmp_path):
    """A TFLite file of int8 from end to end: the cosine to the network in float32 is near 1."""
    embedder = tiny_embedder()
    bare = without_normalization(embedder)
    pixels = np.random.default_rng(0).integers(0, 256, (5, *embedder.input_shape[1:]), np.uint8)
    converter = tf.lite.TFLiteConverter.from_keras_model(bare)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([(one[None].astype(np.float32) - 128) / 128] for one in pixels)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (tmp_path / "int8.tflite").write_bytes(converter.convert())
    given = {"metric": "cosine", "mean": [128] * 3, "std": [128] * 3, "normalize_embedding": True}
    found = describe_network(tmp_path / "int8.tflite", tmp_path / "out", **given).embed(pixels)
    expected = artifact_of(embedder).embed(pixels)
    assert ((found * expected).sum(axis=1) / np.linalg.norm(expected, axis=1)).min() > 0.999


def test_an_undescribed_file_names_the_way_out_and_a_changed_one_is_damaged(theirs, tmp_path, synthetic_dir, refused):
    for name in ("saved", "network.tflite"):
        given = [f"--artifact={theirs / name}", "--dataset=synthetic", f"--data_dir={synthetic_dir}"]
        line = refused(evaluate.main, ["evaluate", *given])
        assert "holds no reid.json" in line and f"python -m keras_reid.describe --artifact={theirs / name}" in line
    place = shutil.copytree(theirs / "described-saved", tmp_path / "changed")
    about = json.loads((place / "reid.json").read_text())
    about["description"]["mean"] = [0, 0, 0]
    (place / "reid.json").write_text(json.dumps(about))
    with pytest.raises(ReidError, match="its network or its description is not what it was. Describe it again"):
        open_artifact(place)
    del about["description"]["mean"]
    (place / "reid.json").write_text(json.dumps(about))
    with pytest.raises(ReidError, match="describes no network"):
        open_artifact(place)
    place = shutil.copytree(theirs / "described-network.tflite", tmp_path / "gone")
    (place / "network.tflite").unlink()
    with pytest.raises(ReidError, match="it has no network.tflite"):
        open_artifact(place)


def test_the_command_says_what_it_read_and_refuses_in_one_line(theirs, tmp_path, capsys, refused):
    given = [f"--artifact={theirs / 'network.tflite'}", "--metric=cosine", f"--output={tmp_path / 'out'}"]
    assert describe.main(["describe", *given, "--normalize=half"]) == 0
    said = capsys.readouterr().out
    assert "pictures 32 x 16, height x width (its file says so), NHWC (its file says so)" in said
    assert "less 127.5, 127.5, 127.5 and divided by 127.5" in said and "embeddings 8 wide" in said
    wrong = {
        "--normalize=half": "exists already",
        "--input_size=256": "--input_size=256, expected height x width in pixels, such as 256x128",
        "--metric=": "--metric",
        "--mean=1,2,three": "--mean",
        "--normalize=torch": "--normalize",
    }
    for flag, text in wrong.items():
        output = [] if flag == "--normalize=half" else [f"--output={tmp_path / 'new'}"]
        assert text in refused(describe.main, ["describe", *given, *output, flag])
    given[-1] = f"--output={tmp_path / 'new'}"
    assert "--input_size=8x8, but the input is" in refused(
        describe.main, ["describe", *given, "--normalize=half", "--input_size=8x8"]
    )
    assert "expected --normalize=imagenet, half, zero_one or raw, or both --mean=R,G,B and --std=" in refused(
        describe.main, ["describe", *given]
    )
    assert not (tmp_path / "new").exists()
