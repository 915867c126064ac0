"""Images of several sizes and two last strides in one run: the same weights, a graph each, an exact way on."""

import dataclasses
import gc
import importlib.util
import weakref

import numpy as np
import pandas as pd
import pytest

from keras_reid import TripletTrainer, build_embedder
from keras_reid.data.augmentation import ERASED_COLOR
from keras_reid.keras2 import keras
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.models.structure import accept_other_sizes
from keras_reid.training import Settings, run_network
from keras_reid.training.cluster import Cluster
from keras_reid.training.run_data import read_run_data
from keras_reid.training.run_folder import RunFolder
from keras_reid.training.steps import Steps
from tests.drill import tensors_of
from tests.training.test_trainer import PERSON_IDS

BLOCK = "v2_stack_3_block1"
STEPS = 4  # of an epoch: 4 people of 6 images train, 3 x 2 in a batch


def images_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (12, height, width, 3), np.uint8)


@pytest.mark.slow
def test_a_network_made_for_one_size_is_that_of_another():
    """A ResNet-50 of 32x16 on images of 48x32, in the trainer's two-headed form, is the one made for 48x32."""
    embedder = build_embedder(head="bnneck", image_size=(32, 16), embedding_size=8)
    config = embedder.get_config()
    config["layers"][0]["config"]["batch_input_shape"] = (None, 48, 32, 3)
    other = type(embedder).from_config(config)
    other.set_weights(embedder.get_weights())
    images = images_of(48, 32)
    with pytest.raises(ValueError, match="incompatible"):
        embedder(images)
    accept_other_sizes(embedder)
    trainer = TripletTrainer(embedder, person_ids=PERSON_IDS, identity_loss_weight=1.0)
    np.testing.assert_array_equal(trainer._features(images)[1], other(images))
    trainer.compile("sgd", loss=BatchHardTripletLoss())
    with pytest.raises(ValueError, match="incompatible"):
        trainer.shipped_embedder()(images)  # what ships has its one size
    trainer.train_at((48, 32))
    shipped = trainer.shipped_embedder()
    assert shipped.input_shape == (None, 48, 32, 3)
    np.testing.assert_array_equal(shipped(images), other(images))


class Killed(Exception):
    """Ends a run where SIGKILL would."""


def steps_of(run_dir, data_dir, **changes) -> Steps:
    """A run with all that begins later than the first step: sizes, erasing, last stride 1, average, metric loss."""
    settings = Settings(
        dataset="synthetic",
        data_dir=data_dir,
        run_dir=run_dir,
        epochs=3,
        identities_per_batch=3,
        images_per_identity=2,
        validation_identities=2,
        image_height=32,
        image_width=16,
        image_size_schedule="16x16:1,32x16",
        random_erasing=0.9,
        erasing_start=2,
        last_stride=1,
        last_stride_start=2,
        backbone_weights="none",
        margin="soft",
        identity_loss_weight=1.0,
        metric_loss_start=1,
        metric_loss_ramp=0.5,
        optimizer="sgd",
        learning_rate=0.05,
        decayed_weights="kernels",
        schedule="cosine",
        warmup_epochs=1,
        ema=0.9,
        ema_start=1,
        renew_batch_norm=2,
        evaluate_every=1,
        save_every_steps=1,
        score_baselines=False,
        mixed_precision="float32",
    )
    settings = dataclasses.replace(settings, **changes)
    return Steps(RunFolder(run_dir), settings, read_run_data(settings), Cluster())


TRACED = []  # (image size, the compiled function) of each training step that the run without a stop has traced
SCORED = []  # (image size, last stride) of the embedders that it scored


def form_of(embedder) -> tuple:
    return embedder.input_shape[1:3], embedder.get_layer(f"{BLOCK}_0_conv").strides[0]


def one_block(*, embedding_size: int, image_size: tuple, last_stride: int, **_):
    """`build_embedder` of a network with one block, named as the one that begins ResNet-50's last stage."""
    images = keras.Input((*image_size, 3))
    x = keras.layers.Rescaling(1 / 128, -1.0)(images)
    block = {"filters": 8, "strides": last_stride, "padding": "same"}
    sides = [keras.layers.Conv2D(**block, kernel_size=size, name=f"{BLOCK}_{size // 2}_conv")(x) for size in (1, 3)]
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Add()(sides)))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(embedding_size, name="embedding")(x), name="embedder")


@pytest.fixture(scope="module")
def small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_network, "build_embedder", one_block)
        yield


@pytest.fixture(scope="module")
def undisturbed(small_blocks, synthetic_dir, tmp_path_factory):
    folder, step = tmp_path_factory.mktemp("sizes") / "whole", TripletTrainer.train_step

    def traced(trainer, data):
        TRACED.append((data[0].shape[1:3], weakref.ref(trainer.train_function)))
        return step(trainer, data)

    steps = steps_of(folder, synthetic_dir)
    score = steps._score_epoch
    steps._score_epoch = lambda embedder: SCORED.append(form_of(embedder)) or score(embedder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TripletTrainer, "train_step", traced)
        return folder, steps.train(steps.restore()), steps


def test_each_size_and_stride_is_traced_once_and_the_graph_before_goes(undisturbed):
    sizes, graphs = zip(*TRACED)
    assert sizes == ((16, 16), (32, 16), (32, 16))
    gc.collect()
    assert [graph() is None for graph in graphs] == [True, True, False]


def test_what_is_scored_has_the_size_and_the_stride_that_were_trained(undisturbed):
    assert SCORED == [((16, 16), 2), ((32, 16), 2), ((32, 16), 1)]


def test_a_run_that_is_killed_between_sizes_and_at_its_last_stride_ends_as_one_that_is_not(
    undisturbed, synthetic_dir, tmp_path
):
    whole, (epoch, score), _ = undisturbed
    run = tmp_path / "run"
    for last in (STEPS, 2 * STEPS + 1):  # between the sizes, then after the first step at last stride 1
        steps = steps_of(run, synthetic_dir)
        save = steps._checkpoints.save

        def save_and_die(step, save=save, last=last):
            save(step)
            if step == last:
                raise Killed

        steps._checkpoints.save = save_and_die
        with pytest.raises(Killed):
            steps.train(steps.restore())
    steps = steps_of(run, synthetic_dir)
    epoch_again, score_again = steps.train(steps.restore())
    assert epoch_again == epoch == 3
    np.testing.assert_array_equal(score_again.embedded.query_embeddings, score.embedded.query_embeddings)
    assert (run / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    name = f"checkpoints/step-{3 * STEPS:08d}"
    one, two = tensors_of(whole / name), tensors_of(run / name)
    assert one.keys() == two.keys()
    for tensor in one:
        np.testing.assert_array_equal(two[tensor], one[tensor], err_msg=tensor)


def test_the_run_decays_its_kernels_alone(undisturbed):
    *_, steps = undisturbed
    variables, optimizer = steps._trainer.trainable_variables, steps._trainer.optimizer
    assert optimizer.weight_decay == 5e-4
    ranks = [(variable.shape.rank > 1, optimizer._use_weight_decay(variable)) for variable in variables]
    assert set(ranks) == {(True, True), (False, False)}


def test_the_log_tells_when_the_metric_loss_counts_and_people_held_out_are_scored(undisturbed):
    folder, (_, score), steps = undisturbed
    rows = pd.read_csv(folder / "metrics.csv")
    assert rows.metric_loss_weight.tolist() == [0, 1, 1]
    assert (rows.metric_loss > 0).all() and (rows.hardest_positive_distance > 0).all()
    held = steps._data.validation
    assert score.result.queries == (held.split == "query").sum() == 4  # 2 people x 2 cameras
    assert len(score.embedded.gallery) == 8
    assert not set(held.person_id) & set(steps._data.batches.person_ids.tolist())


def are_erased(images) -> bool:
    return (images == ERASED_COLOR).all(axis=-1).mean() > 0.05


def test_images_of_a_phase_have_its_size_and_are_erased_late(undisturbed):
    *_, steps = undisturbed
    settings, data = steps._settings, steps._data
    sizes, erased = [], []
    for phase in settings.phases:
        batches = run_network.training_batches(settings, data, phase, start_step=phase.first * STEPS, cache="none")
        images = np.concatenate([images for images, _ in batches])
        assert len(images) == STEPS * 6
        sizes.append(images.shape[1:3])
        erased.append(are_erased(images))
    assert sizes == [(16, 16), (32, 16), (32, 16)]
    assert erased == [False, False, True]


@pytest.mark.skipif(importlib.util.find_spec("tensorflow_addons") is None, reason="no tensorflow-addons")
def test_statistics_of_averaged_weights_are_of_images_as_their_phase_has_them(small_blocks, synthetic_dir, tmp_path):
    """Whether the run came there from the phase before, or goes on in it."""
    changes = {"image_size_schedule": None, "last_stride": 2, "last_stride_start": 0, "optimizer": "tfa_swa"}
    changes |= {"decayed_weights": "all", "ema": 0.0, "ema_start": 0, "renew_batch_norm": 0}
    steps = steps_of(tmp_path / "run", synthetic_dir, **changes)
    erased = []
    for phase in steps._settings.phases:
        steps._enter(phase)
        erased.append(are_erased(np.concatenate(list(steps._trainer.statistics_batches))))
    assert erased == [False, True]
