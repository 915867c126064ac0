"""Embeddings of PyTorch's own ResNet-50 and of re-ID projects' networks, which torch computes in another environment.

`.ci/run` names its interpreter where it has one: KERAS_REID_PYTHON_TORCH (torch, torchvision and NumPy).
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from keras_reid.keras2 import keras
from keras_reid.models import embedder_of_checkpoint

SCRIPT, ROOT = Path(__file__).with_name("torch_networks.py"), Path(__file__).parents[2]
SIZE = (66, 38)  # 33 x 19, 17 x 10, 9 x 5, 5 x 3: odd and even sizes


@pytest.mark.slow  # two whole ResNets each
@pytest.mark.parametrize("name", ["luperson", "strong_baseline", "fast_reid", "torchreid_fc512"])
def test_embeddings_are_torchs(tmp_path, name):
    python = os.environ.get("KERAS_REID_PYTHON_TORCH")
    if not python:
        pytest.skip("NOTICE: KERAS_REID_PYTHON_TORCH names no interpreter with torch")
    safetensors_numpy = pytest.importorskip("safetensors.numpy")
    images = np.random.default_rng(0).integers(0, 256, (4, *SIZE, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    done = subprocess.run(
        [python, SCRIPT, name, tmp_path / "images.npy", tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / f"{name}.npz") as arrays:
        names = json.loads((tmp_path / "names.json").read_text())
        tensors = {of: np.ascontiguousarray(arrays[f"arr_{place}"]) for place, of in enumerate(names)}
    safetensors_numpy.save_file(tensors, tmp_path / "net.safetensors")
    embedder, weights = embedder_of_checkpoint(tmp_path / "net.safetensors", image_size=SIZE)
    ours, expected = embedder(images.astype(np.float32)).numpy(), np.load(tmp_path / f"{name}.npy")
    cosines = (ours * expected).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(expected, axis=1)
    assert ours.shape == expected.shape and cosines.min() >= 0.99999
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    assert isinstance(embedder, keras.Model) and weights.checkpoint.project[:5] in ("torch", "reid-", "fast-")
