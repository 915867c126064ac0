"""`describe` of a re-ID checkpoint: what it writes is evaluated, exported in every format, and trained from."""

import importlib.util
import json

import numpy as np
import pytest

from keras_reid import describe, evaluate, export
from keras_reid.artifacts import open_artifact
from keras_reid.models import build_embedder
from tests.models.test_torch_weights import IMAGES, checkpoint_of, write
from tests.models.torch_layout import SIZE, make_small

EVERY_FORMAT = ["savedmodel", "keras", "tflite", "tflite_int8"]
EVERY_FORMAT += ["onnx"] if importlib.util.find_spec("tf2onnx") else []


@pytest.fixture(autouse=True)
def small(monkeypatch):
    make_small(monkeypatch)


def _described(tmp_path):
    """fast-reid's, with IBN-a, a smaller embedding and its own pooling; and what its code gives for IMAGES."""
    tensors, expected = checkpoint_of("fast-reid with 3 numbers")
    path, place = write(tmp_path / "bot.safetensors", tensors), tmp_path / "bot"
    size = f"--input_size={SIZE[0]}x{SIZE[1]}"
    assert describe.main(["describe", f"--artifact={path}", f"--output={place}", size]) == 0
    return place, expected, tensors


def _check_embeddings(path, expected):
    artifact = open_artifact(path)
    embeddings = artifact.embed(IMAGES.astype(np.uint8))
    np.testing.assert_allclose(embeddings, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    assert artifact.metric == "cosine" and artifact.metadata["checkpoint"]["project"] == "fast-reid"
    return artifact


def test_a_checkpoint_becomes_an_artifact_and_is_trained_from(tmp_path, capsys):
    place, expected, tensors = _described(tmp_path)
    said = capsys.readouterr().out
    assert "resnet50_ibn_a in fast-reid's layout, last stride 1, pooling padded at the end" in said
    assert "embeddings 3 wide (after the neck), compared by cosine distance" in said
    _check_embeddings(place, expected)
    embedder = build_embedder(image_size=SIZE, embedding_size=3, head="bnneck", backbone_weights=str(place))
    scale = embedder.get_layer("v2_stack_0_block1_1_in_scale").depthwise_kernel.numpy().ravel()
    np.testing.assert_array_equal(scale, tensors["backbone.layer1.0.bn1.IN.weight"])


@pytest.mark.slow
def test_a_checkpoint_is_evaluated_and_exported_in_every_format(tmp_path, synthetic_dir, refused):
    place, expected, _ = _described(tmp_path)
    data = ["--dataset=synthetic", f"--data_dir={synthetic_dir}"]
    given = [f"--artifact={place}", *data, "--bootstrap=0", "--calibrate_fpr=0.05"]
    assert evaluate.main(["evaluate", *given]) == 0
    assert "no run.flags, which name a dataset" in refused(export.main, ["export", f"--run_dir={place}"])
    # Random weights: what int8 makes of them says nothing about a trained network's ranks.
    more = [f"--formats={','.join(EVERY_FORMAT)}", "--max_map_drop=100", "--min_cosine=0.9"]
    assert export.main(["export", f"--run_dir={place}", *data, *more]) == 0
    report = json.loads((place / "export" / "parity.json").read_text())
    assert len(report) == len(EVERY_FORMAT)
    for name in ("last.keras", *(f"export/{name}" for name in report if "int8" not in name)):
        assert _check_embeddings(place / name, expected).threshold is not None


def test_wrong_flags_are_refused_in_one_line(tmp_path, synthetic_dir, refused):
    path = write(
        tmp_path / "net.safetensors", {f"m.{name}": one for name, one in checkpoint_of("torchreid")[0].items()}
    )
    given = ["describe", f"--artifact={path}", f"--output={tmp_path / 'new'}"]
    for flag, text in {
        "--layout=nchw": "--layout=nchw, but",
        "--channels=bgr": "is a checkpoint, whose code is known: leave it out",
        "--last_stride=3": "--last_stride",
        "--mean=1,2,3": "or both --mean=R,G,B and --std=",
        "--input_size=8x8": "expected (height, width), two whole numbers of at least 16",
        f"--artifact={tmp_path / 'no.pth'}": "no.pth: no such file",
    }.items():
        assert text in refused(describe.main, [*given, flag])
    other = [*given[:1], f"--artifact={tmp_path}", *given[2:], "--metric=cosine", "--stem=torchvision"]
    assert "is no checkpoint (.safetensors or .pth): leave it out" in refused(describe.main, other)
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    assert "last.keras" in refused(export.main, ["export", f"--run_dir={tmp_path / 'empty'}"])
