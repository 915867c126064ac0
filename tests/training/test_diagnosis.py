"""The doctor: each planted fault is named within its number of steps, once; healthy runs pass in silence."""

import json
import math

import numpy as np
import pytest

from keras_reid import TripletTrainer
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras, tf
from keras_reid.losses import BatchHardTripletLoss, CircleLoss, ClassHardTripletLoss, build_loss
from keras_reid.training.diagnosis import SHORT_WINDOW, WINDOW, CollapseDoctor
from keras_reid.training.run_folder import RunFolder
from tests.conftest import tiny_embedder

P, K = 6, 4
LEARNS = ["batch_hard", "batch_all", "semi_hard", "lifted", "contrastive", "circle", "weighted"]


def doctor_of(run=None, first_step=0):
    return CollapseDoctor(identities_per_batch=P, images_per_identity=K, first_step=first_step, run=run)


def people(identities=12, shuffled=False):
    """Batches of colored noise: a person is a color. Shuffled, a color says nothing."""
    # This seed's labels are near to chance; those of 0 put positives 1 % closer, which is near the doctor's bound.
    random = np.random.default_rng(2)
    colors = random.integers(0, 200, (identities, 1, 1, 3))

    def batches():
        while True:
            chosen = random.choice(identities, P, replace=False).repeat(K)
            shown = random.integers(0, identities, len(chosen)) if shuffled else chosen
            images = colors[shown] + random.integers(0, 56, (len(chosen), 32, 16, 3))
            yield images.astype(np.uint8), chosen.astype(np.int32)

    signature = (tf.TensorSpec([P * K, 32, 16, 3], tf.uint8), tf.TensorSpec([P * K], tf.int32))
    return tf.data.Dataset.from_generator(batches, output_signature=signature)


def fit(loss, *, steps, doctor, embedder=None, optimizer=None, shuffled=False, callbacks=()):
    trainer = TripletTrainer(embedder or tiny_embedder(normalize=True))
    trainer.compile(optimizer or keras.optimizers.Adam(1e-3), loss)
    epochs = math.ceil(steps / 40)
    dataset = people(shuffled=shuffled)
    trainer.fit(dataset, steps_per_epoch=40, epochs=epochs, callbacks=[doctor, *callbacks], verbose=0)
    return trainer


# --- Planted faults, trained ---


@pytest.mark.parametrize("loss", [BatchHardTripletLoss(0.3), BatchHardTripletLoss("soft"), CircleLoss()])
def test_equal_embeddings_are_named_within_the_short_window(loss, tmp_path, capsys):
    images = keras.Input((32, 16, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    blind = keras.layers.Dense(8, kernel_initializer="zeros", bias_initializer="ones", trainable=True)
    run = RunFolder(tmp_path)
    doctor = doctor_of(run)
    fit(loss, steps=40, doctor=doctor, embedder=keras.Model(images, blind(features)), optimizer="sgd")
    assert doctor.finding.startswith(f"step {SHORT_WINDOW}: all embeddings lie on one point")
    assert run.read_diagnosis() == [doctor.finding]
    assert capsys.readouterr().out.count("diagnosis at") == 1


@pytest.mark.parametrize("name", LEARNS)
def test_shuffled_labels_are_named_within_the_window(name):
    doctor = doctor_of()
    fit(build_loss(name, margin=0.3), steps=WINDOW + 20, doctor=doctor, shuffled=True)
    step, finding = doctor.finding.split(": ", 1)
    assert int(step.split()[1]) <= WINDOW
    assert "labels that do not belong to the images" in finding


@pytest.mark.parametrize("name", LEARNS)
def test_a_healthy_run_passes_in_silence(name):
    doctor = doctor_of()
    fit(build_loss(name, margin=0.3), steps=WINDOW + 20, doctor=doctor)
    assert doctor.finding is None


class Poison(keras.callbacks.Callback):
    """Ruins the weights after a step, as an overflow in the gradient would."""

    def __init__(self, step):
        super().__init__()
        self._step, self._made = step, 0

    def on_train_batch_end(self, batch, logs=None):
        self._made += 1
        if self._made == self._step:
            kernel = self.model.embedder.get_layer("embedding").kernel
            kernel.assign(kernel * float("nan"))


@pytest.mark.parametrize("step", [1, 7, 40, 55])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_steps(step, tmp_path):
    run = RunFolder(tmp_path)
    doctor = doctor_of(run, first_step=1000)
    with pytest.raises(ReidError, match="Lower learning_rate") as stop:
        fit(BatchHardTripletLoss(), steps=80, doctor=doctor, callbacks=[Poison(step)])
    last_good = 1000 + step
    assert f"between step {last_good}, the last good one, and step {last_good + 1}" in str(stop.value)
    assert run.read_diagnosis() == [str(stop.value)]
    assert doctor_of(run).finding is None  # a resumed run may still be told what is wrong with it


@pytest.mark.parametrize("step", [5, 40])
def test_a_nan_in_the_images_is_found_though_pooling_hides_it_from_the_loss(step):
    """Max pooling makes a large negative number of it, and the loss stays finite; the gradient ruins the weights."""
    images = keras.Input((32, 16, 3))
    features = keras.layers.MaxPooling2D(4)(keras.layers.Conv2D(8, 3)(keras.layers.Rescaling(1 / 255)(images)))
    embedder = keras.Model(images, keras.layers.Dense(8)(keras.layers.GlobalAveragePooling2D()(features)))
    spoilt = people().map(lambda x, y: (tf.cast(x, tf.float32), y)).enumerate(start=1)
    nan = tf.pad([[[[float("nan")]]]], [[0, P * K - 1], [5, 26], [5, 10], [0, 2]])
    spoilt = spoilt.map(lambda n, batch: (batch[0] + nan if n == step else batch[0], batch[1]))
    trainer = TripletTrainer(embedder)
    trainer.compile("sgd", BatchHardTripletLoss("soft"))
    with pytest.raises(
        ReidError, match=f"between step {step - 1}, the last good one, and step {step}.*NaN in the images"
    ):
        trainer.fit(spoilt, steps_per_epoch=40, epochs=2, callbacks=[doctor_of()], verbose=0)


class PoisonStatistics(keras.layers.BatchNormalization):
    """Its moving statistics overflow at the first step, which training itself never reads."""

    def call(self, inputs, training=None):
        outputs = super().call(inputs, training=training)
        self.moving_variance.assign(self.moving_variance * float("inf"))
        return outputs


def test_moving_statistics_that_are_not_finite_stop_the_run():
    images = keras.Input((32, 16, 3))
    features = PoisonStatistics()(keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images)))
    with pytest.raises(ReidError, match="weights are not finite at step 1"):
        fit(BatchHardTripletLoss(), steps=40, doctor=doctor_of(), embedder=keras.Model(images, features))


# --- Reports by hand: the running means that Keras gives, step by step ---


class Reports:
    """Hands a doctor what a trainer would report, in epochs of 30 steps."""

    def __init__(self, doctor, loss):
        self._doctor, self._step = doctor, 0
        parts = {"loss": loss, "learned_variables": [tf.Variable(0.0)]}
        doctor.set_model(type("Model", (), {**parts, "distribute_strategy": tf.distribute.get_strategy()})())
        doctor.on_train_begin()

    def __call__(self, count, **values):
        report = {"loss": 0.5, "active_triplets": 1.0, "positive_distance": 0.6, "negative_distance": 1.2}
        report["learning_rate"] = 1e-3
        report.update({"embedding_norm": 1.0, **values})
        for n in range(count):
            if self._step % 30 == 0:
                self._doctor.on_epoch_begin(0)
                self._sums = dict.fromkeys(report, 0.0)
            for name, value in report.items():
                self._sums[name] += value(n) if callable(value) else value
            place = self._step % 30
            means = {name: np.float32(total / (place + 1)) for name, total in self._sums.items()}
            for name in report.keys() & {"learning_rate", "metric_loss_weight"}:  # Keras reports those of the step
                means[name] = np.float32(report[name](n) if callable(report[name]) else report[name])
            self._doctor.on_train_batch_end(place, means)
            self._step += 1
        return self._doctor.finding


@pytest.mark.parametrize("margin,level", [("soft", 0.70), ("soft", 0.69), (0.3, 0.3), (0.3, 0.41), (0.2, 0.2)])
def test_a_loss_at_a_standstill_at_the_cost_of_a_point_is_a_collapse(margin, level):
    """ln 2 or the margin, and above: a peer's run from scratch ended at 0.41 with margin 0.3 and learned nothing."""
    reports = Reports(doctor_of(), BatchHardTripletLoss(margin))
    assert reports(60, loss=lambda n: level + 0.02 * (60 - n)) is None  # on its way there
    finding = reports(WINDOW, loss=level)
    assert f"the loss has stood at {level:.2g}" in finding and "learning_rate too high" in finding
    assert ("try margin=soft" in finding) == (margin != "soft")


def test_a_loss_that_passes_the_cost_of_a_point_is_healthy():
    """From 0.9 down through ln 2 to 0.5 in 250 steps, as the synthetic set's own run does."""
    assert Reports(doctor_of(), BatchHardTripletLoss("soft"))(250, loss=lambda n: 0.9 - 0.0016 * n) is None


def test_a_loss_harder_than_batch_hard_may_stand_above_a_point():
    """Class hard on the synthetic set: 1.14 at the end, 27 % of anchors with a stranger nearer, mAP 64 %."""
    reports = Reports(doctor_of(), ClassHardTripletLoss("soft"))
    assert reports(300, loss=1.14, active_triplets=0.27) is None


def test_a_loss_that_stands_still_while_positives_come_closer_is_healthy():
    """Batch hard's early plateau: D+ / D- still falls, from 0.9 to 0.75 in 100 steps."""
    reports = Reports(doctor_of(), BatchHardTripletLoss("soft"))
    assert reports(WINDOW, loss=0.8, positive_distance=lambda n: 1.08 - 0.0018 * n) is None


def test_nothing_is_judged_while_the_learning_rate_rises():
    reports = Reports(doctor_of(), BatchHardTripletLoss("soft"))
    assert reports(WINDOW, loss=0.8, learning_rate=lambda n: 1e-6 * n) is None
    assert "collapse" in reports(WINDOW, loss=0.8)


def test_the_loss_on_distances_is_judged_once_it_counts_in_full():
    """Embeddings may lie anywhere while cross-entropy alone is learned; shrinking is measured from there."""
    reports = Reports(doctor_of(), BatchHardTripletLoss("soft"))
    alone = {"positive_distance": 20.0, "negative_distance": 21.0, "embedding_norm": 20.0}
    assert reports(150, loss=0.8, metric_loss_weight=0.0, **alone) is None
    assert reports(60, loss=0.8, metric_loss_weight=0.5) is None  # a 17th of the distances before
    assert "collapse: the loss has stood at 0.8" in reports(WINDOW, loss=0.8, metric_loss_weight=1.0)


def test_a_low_loss_at_a_standstill_is_healthy():
    assert Reports(doctor_of(), BatchHardTripletLoss("soft"))(300, loss=0.55) is None


def test_distances_that_shrink_to_nothing_are_named():
    """A thousandth of what they were, though the norm went with them."""
    reports = Reports(doctor_of(), BatchHardTripletLoss(0.3))
    assert reports(50, positive_distance=8.0, negative_distance=12.0, embedding_norm=9.0) is None
    shrunk = {"loss": 0.2, "positive_distance": 0.008, "negative_distance": 0.011, "embedding_norm": 0.01}
    assert "all embeddings lie on one point" in reports(SHORT_WINDOW, **shrunk)


def test_distances_that_shrink_tenfold_under_a_loss_above_that_of_a_point_are_a_collapse():
    """A hinge from scratch at a high rate: the loss still falls towards the margin, and so do all distances, to 0."""
    reports = Reports(doctor_of(), BatchHardTripletLoss(0.3))
    assert reports(30, loss=1.7, positive_distance=1.9, negative_distance=2.2) is None
    assert reports(30, loss=lambda n: 0.8 - 0.01 * n, positive_distance=0.4, negative_distance=0.5) is None
    finding = reports(SHORT_WINDOW, loss=lambda n: 0.5 - 0.005 * n, positive_distance=0.13, negative_distance=0.17)
    assert "collapse: pairs are" in finding and "hinge from scratch (try margin=soft)" in finding


def test_distances_that_shrink_tenfold_under_a_good_loss_are_healthy():
    reports = Reports(doctor_of(), BatchHardTripletLoss(0.3))
    reports(30, loss=1.7, positive_distance=1.9, negative_distance=22.0)
    assert reports(50, loss=0.1, positive_distance=0.4, negative_distance=1.9) is None


def test_no_active_triplet_is_named_after_the_window():
    reports = Reports(doctor_of(), BatchHardTripletLoss(0.3))
    assert reports(WINDOW, loss=lambda n: 0.1 * (n < 5), active_triplets=lambda n: 0.1 * (n < 5)) is None
    assert "no triplet has been active" in reports(5, loss=0.0, active_triplets=0.0)


def test_the_loss_on_pairs_is_judged_where_others_are_added():
    """Cross-entropy beside it keeps the sum moving: `metric_loss` alone tells."""
    reports = Reports(doctor_of(), BatchHardTripletLoss("soft"))
    assert "collapse" in reports(WINDOW, loss=lambda n: 5 - 0.04 * n, metric_loss=math.log(2))


def test_a_resumed_run_does_not_say_it_again(tmp_path, capsys):
    run, doctor, resumed = RunFolder(tmp_path), doctor_of(RunFolder(tmp_path)), doctor_of(RunFolder(tmp_path))
    assert Reports(doctor, BatchHardTripletLoss(0.3))(WINDOW, loss=0.3) is not None
    run.forget_after(WINDOW)
    resumed.set_state(json.loads(json.dumps(doctor.get_state())))
    Reports(resumed, BatchHardTripletLoss(0.3))(2 * WINDOW, loss=0.3)
    assert capsys.readouterr().out.count("diagnosis at") == 1
    assert run.read_diagnosis() == [resumed.finding]
    assert resumed.get_state()["finding"] == doctor.finding


def test_a_run_that_goes_on_from_before_a_finding_finds_it_again(tmp_path):
    run = RunFolder(tmp_path)
    lines = []
    for _ in range(2):
        assert Reports(doctor_of(run), BatchHardTripletLoss(0.3))(WINDOW, loss=0.3) is not None
        lines.append(run.read_diagnosis())
        run.forget_after(WINDOW - 1)
        assert run.read_diagnosis() == []
    assert lines[0] == lines[1] and len(lines[0]) == 1


def test_losses_that_are_plain_functions_are_watched_too():
    def loss(person_ids, embeddings):
        return tf.reduce_mean(tf.square(embeddings))

    doctor = doctor_of()
    fit(loss, steps=WINDOW + 20, doctor=doctor, shuffled=True)
    assert "no closer than images of two" in doctor.finding
