"""What every test starts from: fixed seeds, float32, and one small rendered dataset."""

import gc
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

# Before TensorFlow is imported, as the commands do.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import numpy as np
import pytest
from filelock import FileLock

from keras_reid.keras2 import keras, tf

ROOT = Path(__file__).parent.parent

# Tracing a network makes millions of objects, none of them garbage: looking at each 700th took a tenth of the time.
gc.set_threshold(20_000, 10, 10)


@pytest.fixture(autouse=True)
def fixed_seeds_and_float32():
    random.seed(0)
    np.random.seed(0)
    tf.random.set_seed(0)
    keras.mixed_precision.set_global_policy("float32")
    yield
    keras.mixed_precision.set_global_policy("float32")


# By the minutes of their tests; no two neighbors wait for the same `finished_resnet50`.
LONGEST_FIRST = (
    "test_drill.py",
    "serving/test_elsewhere.py",
    "docs/test_blocks.py",
    "test_recipes.py",
    "training/test_replicas_run.py",
    "test_main_job.py",
    "test_survival.py",
    "losses/test_replicas.py",
    "training/test_optimizers.py",
    "artifacts/test_embedding_job.py",
    "training/test_diagnosis.py",
    "serving/test_kit.py",
    "data/test_pipeline.py",
    "training/test_augmentation.py",
    "training/test_layer_rates.py",
)


# Marked `once`, as single tests elsewhere are: either stack would show the same, so that CI runs them on one. Code
# blocks of the pages, pages in a browser, types, the clients of the serving kit, bad input, galleries, checkpoints of
# others, kinds of image files, thresholds, linking, what is put in place of what.
ONCE = (
    "docs",
    "gallery",
    "test_gallery.py",
    "serving/test_kit.py",
    "reports/test_in_chromium.py",
    "reports/test_page.py",
    "reports/test_tracks_page.py",
    "test_types.py",
    "artifacts/test_embedding_job.py",
    "artifacts/test_threshold.py",
    "data/test_decoding.py",
    "data/test_images.py",
    "models/test_torch_weights.py",
    "serving/test_shipping.py",
    "tracks/test_enrolling.py",
    "tracks/test_job.py",
    "tracks/test_link_command.py",
    "training/test_diagnosis.py",
    "training/test_input_wait.py",
    "test_bad_input.py",
    "test_odd_names.py",
    "test_own_run.py",
    "test_doctor.py",
    "test_describe.py",
    "test_describe_checkpoint.py",
    "test_visualize.py",
    "test_compare.py",
    "test_evaluate.py",
    "test_recipes.py",
)


def pytest_collection_modifyitems(items):
    """The longest files first: where one of them began last, the other process would have nothing left to do.

    And those of `ONCE` are marked.
    """
    tests = Path(__file__).parent
    places = {tests / name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    once = {tests / name for name in ONCE}
    for item in items:
        if not once.isdisjoint([item.path, *item.path.parents]):
            item.add_marker("once")


def pytest_collection_finish():
    """Every test file is imported: what is there now stays, and no search for garbage has to look at it again."""
    gc.collect()
    gc.freeze()


_peak = {"KiB": 0}


@pytest.fixture(autouse=True)
def networks_released():
    """What a test built goes once it has raised the peak of memory: TensorFlow keeps what was in use at one time."""
    yield
    now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if now > _peak["KiB"] + 100_000:  # a ResNet-50
        gc.collect()
        _peak["KiB"] = now


@pytest.fixture(autouse=True, scope="module")
def graphs_released():
    """What a file's tests built goes before the next file's: networks and graphs refer to themselves in circles."""
    yield
    gc.collect()


def made_once(tmp_path_factory, name: str, make) -> Path:
    """Returns a folder that all test processes of the session share: the first that wants it makes it.

    Tests read it, and copy it before they change anything.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            make(folder)
    return folder


@pytest.fixture(scope="session")
def synthetic_dir(tmp_path_factory) -> Path:
    """12 people, 6 of them for training, seen by 2 cameras, 3 images each."""
    from keras_reid.data import write_synthetic

    sizes = {"identities": 12, "cameras": 2, "images_per_camera": 3, "seed": 0}
    return made_once(tmp_path_factory, "synthetic", lambda folder: write_synthetic(folder, **sizes))


@pytest.fixture(scope="session")
def tiny_catalog(synthetic_dir):
    from keras_reid.data import read_market1501

    return read_market1501(synthetic_dir)


def tiny_embedder(embedding_size: int = 8, image_size: tuple = (32, 16), normalize: bool = False, sync: bool = False):
    """A network of three layers with the interface of `build_embedder`: fast, and precise about nothing."""
    images = keras.Input((*image_size, 3))
    x = keras.layers.Rescaling(1 / 128, -1.0, dtype="float32")(images)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = keras.layers.BatchNormalization(synchronized=sync)(x)
    x = keras.layers.GlobalAveragePooling2D(dtype="float32")(x)
    x = keras.layers.Dense(embedding_size, dtype="float32", name="embedding")(x)
    if normalize:
        x = keras.layers.UnitNormalization()(x)
    return keras.Model(images, x, name="embedder")


def tiny_artifact(folder: Path, *, metric: str) -> Path:
    """Writes that network as an artifact, `tiny.keras`."""
    from keras_reid.artifacts import describe_embedder
    from keras_reid.models import save_keras

    embedder = tiny_embedder()
    return save_keras(embedder, folder / "tiny.keras", metadata=describe_embedder(embedder, metric=metric))


TINY_RUN = (
    "--dataset=synthetic",
    "--image_height=32",
    "--image_width=16",
    "--random_crop_padding=2",
    "--identities_per_batch=3",
    "--images_per_identity=2",
    "--backbone_weights=none",
    "--margin=soft",
    "--evaluate_every=2",
)


def train_arguments(data_dir, run_dir, *more: str) -> list:
    """The command line of a run on images of 32x16."""
    return ["train", *TINY_RUN, f"--data_dir={data_dir}", f"--run_dir={run_dir}", *more]


@pytest.fixture(autouse=True, scope="session")
def small_network():
    """The commands that tests call train a network of three layers: seconds, where a ResNet-50 takes a minute."""
    from keras_reid.training import run_network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_network, "build_embedder", small_embedder)
        yield


def drawn_by_runs() -> list:
    """Where a run draws `report.html` and `curves.png`, which takes seconds: modules and names."""
    from keras_reid.training import curves, epoch_end, run

    return [(run, "_draw_page"), (epoch_end, "draw_curves"), (curves, "draw_curves")]


@pytest.fixture(autouse=True, scope="session")
def no_pictures():
    """The commands that tests call draw neither page nor curves; yields modules, names and what draws them."""
    real = [(module, name, getattr(module, name)) for module, name in drawn_by_runs()]
    with pytest.MonkeyPatch.context() as patch:
        for module, name, _ in real:
            patch.setattr(module, name, lambda *_: None)
        yield real


@pytest.fixture
def with_pictures(monkeypatch, no_pictures):
    """The commands that the test calls draw page and curves."""
    for place in no_pictures:
        monkeypatch.setattr(*place)


@pytest.fixture
def resnet50(monkeypatch):
    """The commands that the test calls train the network that ships."""
    from keras_reid.models import build_embedder
    from keras_reid.training import run_network

    monkeypatch.setattr(run_network, "build_embedder", build_embedder)


def small_embedder(*, embedding_size, image_size, normalize_embedding, sync_batch_norm, **_):
    """`build_embedder` of the small network."""
    return tiny_embedder(embedding_size, image_size, normalize_embedding, sync_batch_norm)


@pytest.fixture(scope="session")
def finished_run(synthetic_dir, tmp_path_factory, no_pictures) -> Path:
    """A run of two epochs of the small network, from the command line to the scored exports and the page."""
    from keras_reid import train

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for place in no_pictures:
                patch.setattr(*place)
            assert train.main(train_arguments(synthetic_dir, folder, "--epochs=2")) == 0

    return made_once(tmp_path_factory, "finished", make)


@pytest.fixture(scope="session")
def finished_resnet50(synthetic_dir, tmp_path_factory) -> Path:
    """The same with a ResNet-50, by a user's command."""

    def make(folder: Path) -> None:
        arguments = train_arguments(synthetic_dir, folder, "--epochs=2")[1:]
        done = subprocess.run([sys.executable, "-m", "keras_reid.train", *arguments], cwd=ROOT, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()

    return made_once(tmp_path_factory, "finished-resnet50", make)


@pytest.fixture
def refused(capsys):
    """Runs a command that must be refused; returns its one line."""

    def run(main, arguments) -> str:
        exit_code = main([str(argument) for argument in arguments])
        error = capsys.readouterr().err
        assert exit_code == 1, error
        assert error.startswith("error: ") and error.count("\n") == 1, error
        return error

    return run
