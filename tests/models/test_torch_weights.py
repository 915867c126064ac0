"""Weights of PyTorch's networks give PyTorch's features in ours; what is missing, or another network, is refused."""

import json
import sys

import numpy as np
import pytest

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras
from keras_reid.models import build_embedder, embedder_of_checkpoint, read_backbone_weights, save_keras
from keras_reid.models.torch_files import read_tensors
from keras_reid.models.torch_resnet50 import find_backbone
from tests.models.torch_layout import SIZE, WIDTHS, make_small, norm_state, pooled, state
from tests.models.torch_layout import norm as numpy_norm

safetensors_numpy = pytest.importorskip("safetensors.numpy")
CHANNELS = 4 * WIDTHS[-1]
IMAGES = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3)).astype("float32")
NORMALIZED = (IMAGES / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    make_small(monkeypatch)


def write(path, tensors):
    """Writes a `.safetensors` file."""
    safetensors_numpy.save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)
    return path


def _pooled(embedder, images=IMAGES):
    return keras.Model(embedder.input, embedder.get_layer("pooled_features").output)(images).numpy()


def _check_same(ours, expected):
    cosines = (ours * expected).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.99999
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


# --- The graph ---


@pytest.mark.parametrize(("stride", "instance_norm"), [(1, False), (2, False), (2, True)])
def test_features_are_those_of_numpy(tmp_path, capsys, stride, instance_norm):
    tensors = state(instance_norm=instance_norm)
    path = write(tmp_path / "net.safetensors", {**tensors, "fc.weight": np.ones((10, CHANNELS), np.float32)})
    more = {"embedding_size": 8, "image_size": SIZE, "last_stride": stride}
    embedder = build_embedder(backbone_weights=str(path), **more)
    _check_same(_pooled(embedder), pooled(tensors, NORMALIZED, last_stride=stride))
    printed = capsys.readouterr().out
    assert "(torchvision's names): " in printed and "1 of the file not used: fc. Input: ImageNet mean" in printed
    assert "3 not in the file and left random: head_hidden, head_hidden_bn, head_embedding" in printed
    if not instance_norm:
        return
    # A run that goes on, or starts from this one, finds the graph in the file that the run saved.
    again = build_embedder(backbone_weights=str(save_keras(embedder, tmp_path / "last.keras")), **more)
    np.testing.assert_array_equal(again(IMAGES), embedder(IMAGES))
    same_layers = [
        {key: value for key, value in layer["config"].items() if key != "synchronized"}
        for layer in (*embedder.get_config()["layers"], *again.get_config()["layers"])
    ]
    assert same_layers[: len(same_layers) // 2] == same_layers[len(same_layers) // 2 :]


def test_real_names_are_torchvisions(monkeypatch):
    """265 tensors of torchvision's ResNet-50, without its counters and `fc`."""
    monkeypatch.undo()
    tensors = state(blocks=(3, 4, 6, 3), widths=(64, 128, 256, 512))
    weights = {name: array for name, array in tensors.items() if array.ndim}
    found = find_backbone(weights, "net")
    assert len(weights) == 265 and len(found.layers) == 2 * 53 and not found.rest
    assert found.layers["v2_stack_3_block1_0_conv"]["kernel"].shape == (1, 1, 1024, 2048)
    kernel = found.layers["v2_stack_2_block6_2_conv"]["kernel"]
    assert kernel[1, 2, 3, 4] == tensors["layer3.5.conv2.weight"][4, 3, 1, 2]


def test_a_backbone_of_another_kind_is_refused(tmp_path):
    path = write(tmp_path / "net.safetensors", state(instance_norm=True))
    with pytest.raises(ReidError, match=r"backbone=resnet50, but backbone_weights=.*holds a resnet50_ibn_a"):
        build_embedder(image_size=SIZE, backbone_weights=str(path), backbone="resnet50")
    fresh = build_embedder(image_size=SIZE, embedding_size=8, backbone="resnet50_ibn_a")
    assert fresh.get_layer("v2_stack_2_block1_1_in_scale").depthwise_kernel.shape == (1, 1, 10 // 2, 1)


# --- Names ---


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "base.", "model.module.backbone.", "state_dict."])
def test_prefixes_are_found(prefix):
    found = find_backbone(_floats(state(prefix)), "net")
    assert found.prefix == prefix
    np.testing.assert_array_equal(found.layers["conv1_bn"]["gamma"], state()["bn1.weight"])


def _floats(tensors):
    return {name: array for name, array in tensors.items() if array.ndim}


def test_moco_gives_the_query_encoder(tmp_path, capsys):
    """LUPerson's checkpoint: two encoders with projections, and a queue."""
    query, key = state("module.encoder_q."), state("module.encoder_k.", seed=5)
    heads = {f"module.encoder_{one}.fc.{layer}.weight": np.ones((4, 4), np.float32) for one in "qk" for layer in (0, 2)}
    more = {"module.queue": np.ones((4, 8), np.float32), "module.queue_ptr": np.array([3])}
    path = write(tmp_path / "lup.safetensors", {**key, **query, **heads, **more})
    embedder = build_embedder(embedding_size=8, image_size=SIZE, backbone_weights=str(path))
    _check_same(_pooled(embedder), pooled(state(), NORMALIZED))
    counted = len(_floats(key)) + 2
    unused = f"module.encoder_q.fc (2 tensors), module.encoder_k ({counted} tensors), module.queue."
    assert f"3 of the file not used: {unused}" in capsys.readouterr().out


def test_what_is_missing_is_named():
    tensors = _floats(state("module."))
    del tensors["module.layer4.1.bn3.running_var"]
    with pytest.raises(ReidError, match=r"1 of the \d+ tensors .* missing \(module.layer4.1.bn3.running_var\)"):
        find_backbone(tensors, "net")
    for place in range(6):
        del tensors[f"module.layer1.0.{['conv2.weight', *(f'bn2.{one}' for one in BN), 'conv3.weight'][place]}"]
    with pytest.raises(ReidError, match=r"7 of .*module.layer1.0.conv2.weight, .*, \.\.\.\), and none is left random"):
        find_backbone(tensors, "net")


BN = ("weight", "bias", "running_mean", "running_var")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"layer3.6.conv1.weight": np.ones((1, 1))}, r"another residual network: 1 of .*layer3.6.conv1.weight"),
        ({"layer1.0.se.fc1.weight": np.ones((1, 1))}, "another residual network: .*layer1.0.se.fc1"),
        ({"NL_2.0.theta.weight": np.ones((1, 1))}, "another residual network: .*NL_2.0.theta"),
        (
            {"layer2.0.conv2.weight": np.ones((6, 3, 3, 3))},
            r"layer2.0.conv2.weight is \[6, 3, 3, 3\], expected \[6,",
        ),
        ({f"teacher.{name}": one for name, one in state().items()}, "2 ResNets in one file, .* '', 'teacher.'"),
    ],
    ids=["resnet101", "squeeze", "non-local", "resnext", "two"],
)
def test_other_networks_are_refused(more, message):
    with pytest.raises(ReidError, match=message):
        find_backbone(_floats({**state(), **more}), "net")


def test_no_resnet_at_all():
    with pytest.raises(ReidError, match=r"no ResNet-50 in it: none of its 2 tensors is named .*; it holds a.weight, b"):
        find_backbone({"a.weight": np.ones(3), "b": np.ones(2)}, "net")


# --- Files ---


def test_half_precisions_and_counters(tmp_path):
    """1, -2.5 and 3.140625 are bfloat16 0x3F80, 0xC020 and 0x4049."""
    arrays = {"a": ("BF16", "<u2", [0x3F80, 0xC020, 0x4049]), "b": ("F16", "<f2", [0.5, 2]), "n": ("I64", "<i8", [7])}
    header, data = {}, b""
    for name, (kind, dtype, values) in arrays.items():
        raw = np.array(values, dtype).tobytes()
        header[name] = {"dtype": kind, "shape": [len(values)], "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    found = read_tensors(tmp_path / "x.safetensors")
    assert found.keys() == {"a", "b"} and {array.dtype for array in found.values()} == {np.dtype("float32")}
    np.testing.assert_array_equal(found["a"], [1, -2.5, 3.140625])
    np.testing.assert_array_equal(found["b"], [0.5, 2])


def test_damaged_files_are_named(tmp_path):
    (tmp_path / "text.safetensors").write_text("hello, world: no header")
    with pytest.raises(ReidError, match="text.safetensors': no safetensors file, or damaged"):
        read_backbone_weights(tmp_path / "text.safetensors")
    write(tmp_path / "empty.safetensors", {"n": np.array([1])})
    with pytest.raises(ReidError, match="empty.safetensors': it holds no tensor of real numbers"):
        read_backbone_weights(tmp_path / "empty.safetensors")


@pytest.mark.parametrize("name", ["net.pth", "net.pt", "model.pth.tar", "model.pth.tar-60"])
def test_without_torch_one_line_tells_how_to_convert(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it fails
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(ReidError) as caught:
        read_backbone_weights(tmp_path / name)
    text, target = str(caught.value), tmp_path / f"{name.split('.')[0]}.safetensors"
    assert "torch, which alone reads such a file, is not installed" in text and "\n" not in text
    assert f"torch.load('{tmp_path / name}', 'cpu'" in text and f"'{target}')" in text


# --- Whole checkpoints ---


def checkpoint_of(project):
    """Returns the tensors of a checkpoint in the layout of a project, and what that project's code gives for IMAGES."""
    identities = np.ones((5, CHANNELS), np.float32)
    if project == "reid-strong-baseline":  # no ReLU in the stem; the neck's shift stays 0
        neck = norm_state("bottleneck", CHANNELS, shift=False)
        tensors = {**state("base."), **neck, "classifier.weight": identities}
        return tensors, _normed(neck, "bottleneck", pooled(state(), NORMALIZED, last_stride=1, relu=False))
    if project == "fast-reid":
        mean, std = np.array([100.0, 110, 120], np.float32), np.array([50.0, 60, 70], np.float32)
        pixels = {"pixel_mean": mean.reshape(1, 3, 1, 1), "pixel_std": std.reshape(1, 3, 1, 1)}
        neck = norm_state("heads.bottleneck.0", CHANNELS, shift=False)
        tensors = {**state("backbone."), **pixels, **neck, "heads.weight": identities}
        features = pooled(state(), (IMAGES - mean) / std, last_stride=1, pool="end")
        return {f"model.{name}": one for name, one in tensors.items()}, _normed(neck, "heads.bottleneck.0", features)
    if project == "fast-reid with 3 numbers":  # a smaller embedding, by a convolution; IBN-a
        kernel = np.random.default_rng(3).normal(size=(3, CHANNELS, 1, 1)).astype(np.float32)
        neck = {"heads.bottleneck.0.weight": kernel, **norm_state("heads.bottleneck.1", 3)}
        network = state(instance_norm=True)
        tensors = {**{f"backbone.{name}": one for name, one in network.items()}, **neck}
        features = pooled(network, NORMALIZED, last_stride=1, pool="end") @ kernel[:, :, 0, 0].T
        return {**tensors, "heads.classifier.weight": identities}, _normed(neck, "heads.bottleneck.1", features)
    if project == "fast-reid 0.1":
        neck = norm_state("heads.bnneck", CHANNELS, shift=False)
        tensors = {**state("backbone."), **neck, "heads.classifier.weight": identities}
        return tensors, _normed(neck, "heads.bnneck", pooled(state(), NORMALIZED, last_stride=1))
    classifier = {"classifier.weight": identities, "classifier.bias": np.ones(5, np.float32)}
    if project == "torchreid":
        return {**state("module."), **{f"module.{name}": one for name, one in classifier.items()}}, pooled(
            state(), NORMALIZED
        )
    assert project == "torchreid with fc"
    random = np.random.default_rng(4)
    linear = {"fc.0.weight": random.normal(size=(6, CHANNELS)), "fc.0.bias": random.normal(size=6)}
    head = {**{name: one.astype(np.float32) for name, one in linear.items()}, **norm_state("fc.1", 6)}
    hidden = pooled(state(), NORMALIZED, last_stride=1) @ linear["fc.0.weight"].T + linear["fc.0.bias"]
    return {**state(), **head, **classifier}, np.maximum(_normed(head, "fc.1", hidden), 0)


def _normed(tensors, place, rows):
    return numpy_norm(tensors, place, rows.T[..., None])[..., 0].T


PROJECTS = {
    "reid-strong-baseline": "cosine",
    "fast-reid": "cosine",
    "fast-reid with 3 numbers": "cosine",
    "fast-reid 0.1": "cosine",
    "torchreid": "euclidean",
    "torchreid with fc": "euclidean",
}


@pytest.mark.parametrize("project", PROJECTS)
def test_a_checkpoint_embeds_as_its_project(tmp_path, project):
    tensors, expected = checkpoint_of(project)
    path = write(tmp_path / "net.safetensors", tensors)
    embedder, weights = embedder_of_checkpoint(path, image_size=SIZE)
    _check_same(embedder(IMAGES).numpy(), expected)
    assert project.startswith(weights.checkpoint.project) and weights.checkpoint.metric == PROJECTS[project]


def test_before_the_neck_a_forks_stem_and_other_choices(tmp_path):
    tensors, _ = checkpoint_of("reid-strong-baseline")
    path = write(tmp_path / "net.safetensors", tensors)
    more = {"stem": "torchvision", "feature": "pooled_features", "last_stride": 2, "normalize_embedding": True}
    embedder, _ = embedder_of_checkpoint(path, image_size=SIZE, mean=[127.5] * 3, std=[127.5] * 3, **more)
    expected = pooled(state(), IMAGES / 127.5 - 1)
    _check_same(embedder(IMAGES).numpy(), expected / np.linalg.norm(expected, axis=1, keepdims=True))


def test_a_neck_starts_a_run_where_it_fits(tmp_path, capsys):
    path = write(tmp_path / "net.safetensors", checkpoint_of("torchreid with fc")[0])
    build_embedder(embedding_size=8, image_size=SIZE, backbone_weights=str(path))
    printed = capsys.readouterr().out
    assert "3 of the file not used: head_hidden, head_hidden_bn, classifier (2 tensors)" in printed


def test_a_head_that_nobody_knows_is_refused(tmp_path):
    tensors = {**checkpoint_of("fast-reid")[0], "model.heads.pool_layer.p": np.array([3.0], np.float32)}
    path = write(tmp_path / "net.safetensors", tensors)
    with pytest.raises(ReidError, match="names of fast-reid, and 1 tensors .*model.heads.pool_layer.p.: export .*ONNX"):
        embedder_of_checkpoint(path, image_size=SIZE)
