"""Weights of other networks give their own features in ours; what does not fit is listed or refused."""

import h5py
import numpy as np
import pytest

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras
from keras_reid.models import assign_weights, build_embedder, read_backbone_weights, save_keras
from keras_reid.models.backbone import keras_cv_resnet50

SIZE = (64, 32)
CONVOLUTIONS_AND_NORMALIZATIONS = 2 * 53  # ResNet-50: the stem, 16 blocks of 3, and 4 shortcuts.


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (2, *SIZE, 3)).astype("float32")


def _randomized(model):
    """Random biases, scales, shifts and statistics: fresh ones are zeros and ones, and hide what goes astray."""
    random = np.random.default_rng(1)
    for variable in model.weights:
        name, shape = variable.name.split("/")[-1], variable.shape
        if name.startswith(("gamma", "moving_variance")):
            variable.assign(random.uniform(0.5, 1.5, shape))
        elif name.startswith(("beta", "bias", "moving_mean")):
            variable.assign(random.normal(0, 0.1, shape))
    return model


@pytest.fixture(scope="module")
def applications():
    return _randomized(keras.applications.ResNet50(weights=None, include_top=False, input_shape=(*SIZE, 3)))


@pytest.fixture(scope="module")
def applications_file(applications, tmp_path_factory):
    path = tmp_path_factory.mktemp("applications") / "resnet50_notop.h5"
    applications.save_weights(path)
    return path


@pytest.fixture(scope="module")
def keras_cv_backbone():
    return _randomized(keras_cv_resnet50(input_shape=(*SIZE, 3)))


@pytest.fixture(scope="module")
def keras_cv_file(keras_cv_backbone, tmp_path_factory):
    path = tmp_path_factory.mktemp("keras_cv") / "classification-v0-notop.h5"
    keras_cv_backbone.save_weights(path)
    return path


@pytest.fixture(scope="module")
def run_folder(applications_file, tmp_path_factory):
    """A run that started from keras.applications' weights: another normalization and stem than our default."""
    folder = tmp_path_factory.mktemp("run")
    embedder = build_embedder(embedding_size=8, image_size=SIZE, backbone_weights=str(applications_file))
    save_keras(_randomized(embedder), folder / "last.keras")
    return folder, embedder


@pytest.fixture(scope="module")
def fresh():
    return build_embedder(embedding_size=16, image_size=(16, 16), last_stride=1)


def _pooled(embedder, images):
    return keras.Model(embedder.input, embedder.get_layer("pooled_features").output)(images).numpy()


def _check_close(ours, expected):
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def _check_same_weights(ours, expected):
    assert (ours.normalization, ours.graph) == (expected.normalization, expected.graph)
    for name, variables in expected.layers.items():
        assert ours.layers[name].keys() == variables.keys()
        for variable, array in variables.items():
            np.testing.assert_array_equal(ours.layers[name][variable], array)


def test_keras_applications_features_on_rgb_images(applications, applications_file, images, capsys):
    """Their network gets `preprocess_input` (BGR minus the means), ours the RGB image; biases are folded away."""
    embedder = build_embedder(embedding_size=8, image_size=SIZE, backbone_weights=str(applications_file))
    expected = applications(keras.applications.resnet50.preprocess_input(images.copy())).numpy().mean(axis=(1, 2))
    _check_close(_pooled(embedder, images), expected)
    printed = capsys.readouterr().out
    assert f"(keras.applications): {CONVOLUTIONS_AND_NORMALIZATIONS} layers matched, conv1_conv to v2_stack" in printed
    assert "3 not in the file and left random: head_hidden, head_hidden_bn, head_embedding" in printed
    assert "head_hidden, head_hidden_bn, head_embedding" in printed


@pytest.mark.parametrize("name", ["whole_model.h5", "model.keras", "alone.weights.h5"])
def test_keras_applications_in_every_format(applications, applications_file, tmp_path, name):
    save = applications.save_weights if name.startswith("alone") else applications.save
    save(str(tmp_path / name))
    ours, expected = read_backbone_weights(tmp_path / name), read_backbone_weights(applications_file)
    assert ours.kind == "keras.applications"
    _check_same_weights(ours, expected)


def test_keras_applications_with_its_classifier(applications, applications_file, fresh, tmp_path):
    top = keras.layers.Dense(10, name="predictions")(keras.layers.GlobalAveragePooling2D()(applications.output))
    keras.Model(applications.input, top).save_weights(tmp_path / "top.h5")
    weights = read_backbone_weights(tmp_path / "top.h5")
    _check_same_weights(weights, read_backbone_weights(applications_file))
    assert assign_weights(fresh, weights).unused == ("predictions",)


def test_keras_cv_features(keras_cv_backbone, keras_cv_file, images):
    """keras-cv trained its ResNet-50 on images / 255."""
    embedder = build_embedder(embedding_size=8, image_size=SIZE, backbone_weights=str(keras_cv_file))
    _check_close(_pooled(embedder, images), keras_cv_backbone(images / 255).numpy().mean(axis=(1, 2)))


@pytest.mark.parametrize("name", ["backbone.keras", "backbone.weights.h5", "nested.h5"])
def test_keras_cv_in_every_format(keras_cv_backbone, keras_cv_file, tmp_path, name):
    if name == "nested.h5":  # A classifier that holds the backbone as one layer.
        image = keras.Input((*SIZE, 3))
        keras.Model(image, keras_cv_backbone(image)).save_weights(tmp_path / name)
    else:
        save = keras_cv_backbone.save_weights if "weights" in name else keras_cv_backbone.save
        save(str(tmp_path / name))
    ours = read_backbone_weights(tmp_path / name)
    assert ours.kind == "keras-cv"
    _check_same_weights(ours, read_backbone_weights(keras_cv_file))


def test_imagenet_preset_brings_its_rescaling(keras_cv_backbone, keras_cv_file, monkeypatch):
    import keras_cv

    def preset(name):
        assert name == "resnet50_imagenet"
        image = keras.Input((*SIZE, 3))
        return keras.Model(image, keras_cv_backbone(keras.layers.Rescaling(1 / 255.0)(image)))

    monkeypatch.setattr(keras_cv.models.ResNetBackbone, "from_preset", preset)
    weights = read_backbone_weights("imagenet")
    assert weights.normalization.scale == (1 / 255.0,) * 3
    assert weights.normalization.offset == (0.0,) * 3
    for name, variables in read_backbone_weights(keras_cv_file).layers.items():
        np.testing.assert_array_equal(weights.layers[name].popitem()[1], variables.popitem()[1])


@pytest.mark.parametrize("error", [OSError("no route"), ImportError("no kagglehub"), ValueError("unknown preset")])
def test_imagenet_without_network_names_the_other_choices(monkeypatch, error):
    import keras_cv

    def fails(name):
        raise error

    monkeypatch.setattr(keras_cv.models.ResNetBackbone, "from_preset", fails)
    with pytest.raises(ReidError, match="Use backbone_weights=none.* backbone_weights=PATH") as caught:
        build_embedder(backbone_weights="imagenet")
    assert str(error) in str(caught.value)


def test_run_folder_gives_the_same_embedder_back(run_folder, images):
    folder, embedder = run_folder
    again = build_embedder(embedding_size=8, image_size=SIZE, backbone_weights=str(folder))
    np.testing.assert_array_equal(again(images), embedder(images))
    assert again.get_config()["layers"][1] == embedder.get_config()["layers"][1]  # The Rescaling.


def test_head_of_another_size_is_listed(run_folder, fresh):
    """The run's embeddings have 8 numbers, the fresh embedder's 16."""
    report = assign_weights(fresh, read_backbone_weights(run_folder[0]))
    assert report.missing == report.unused == ("head_embedding",)
    assert len(report.matched) == CONVOLUTIONS_AND_NORMALIZATIONS + 2
    assert "1 not in the file and left random: head_embedding" in report.summary()
    assert "1 of the file not used: head_embedding" in report.summary()


def test_last_comes_before_best(tmp_path):
    """Both are refused as damaged, by the name of the one that was chosen."""
    for name in ("best.keras", "last.keras"):
        (tmp_path / name).write_text("hello")
        with pytest.raises(ReidError, match=name):
            read_backbone_weights(tmp_path)


def _write_h5(path, layers):
    """Writes the layout of Keras's `save_weights`: a group for each layer, its weights named in an attribute."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for name, arrays in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{variable}:0".encode() for variable in arrays]
            for variable, shape in arrays.items():
                group[f"{name}/{variable}:0"] = np.ones(shape, "float32")
    return path


STEM = {"conv1_conv": {"kernel": (7, 7, 3, 64)}}


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"dense": {"kernel": (3, 4)}}, "no layer matches a ResNet-50.*dense"),
        ({**STEM, "conv4_block23_1_conv": {"kernel": (1, 1, 1024, 256)}}, "another residual.*v2_stack_2_block23_1"),
        ({**STEM, "v2_stack_0_block1_1_conv": {"kernel": (3, 3, 64, 64)}}, "another residual.*v2_stack_0_block1_1"),
        ({**STEM, "conv2_block1_preact_bn": {"gamma": (64,)}}, "another residual network.*preact_bn"),
    ],
    ids=["unrelated", "resnet101", "resnet18", "resnet50v2"],
)
def test_other_architectures_are_refused_and_change_nothing(fresh, tmp_path, layers, message):
    before = fresh.get_layer("conv1_conv").get_weights()[0]
    with pytest.raises(ReidError, match=f"other.h5.*{message}"):
        assign_weights(fresh, read_backbone_weights(_write_h5(tmp_path / "other.h5", layers)))
    np.testing.assert_array_equal(fresh.get_layer("conv1_conv").get_weights()[0], before)


def test_our_own_weights_without_their_normalization_are_refused(tmp_path):
    path = _write_h5(tmp_path / "own.h5", {**STEM, "input_normalization": {}})
    with pytest.raises(ReidError, match="own.h5.*normalization.*run folder"):
        read_backbone_weights(path)


def test_unreadable_paths_are_named(applications_file, tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    (tmp_path / "cut.h5").write_bytes(applications_file.read_bytes()[:100_000])
    (tmp_path / "text.keras").write_text("hello")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    for name in ("text.h5", "cut.h5", "text.keras", "notes.txt", "missing", "missing.h5", "empty", "imagenet21k"):
        with pytest.raises(ReidError, match=name):
            read_backbone_weights(tmp_path / name)
    with pytest.raises(ReidError, match="empty.*last.keras.*best.keras"):
        read_backbone_weights(tmp_path / "empty")


def test_weights_h5_of_another_network_is_refused(tmp_path):
    network = keras.Sequential([keras.layers.Conv2D(4, 3, input_shape=(8, 8, 3))])
    network.save_weights(tmp_path / "small.weights.h5")
    with pytest.raises(ReidError, match="small.weights.h5.*fit neither"):
        read_backbone_weights(tmp_path / "small.weights.h5")
