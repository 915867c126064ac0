"""Score, reference model and callback: what is scored, when, and that model and exported artifact go one way."""

import numpy as np
import pytest

from keras_reid import TripletTrainer
from keras_reid.artifacts import artifact_of
from keras_reid.errors import ReidError
from keras_reid.evaluation import ReferenceModel, RetrievalEvaluation, mean_color_artifact, scores_table
from keras_reid.evaluation.scoring import score
from keras_reid.keras2 import keras, tf
from keras_reid.losses import BatchHardTripletLoss
from keras_reid.models import rebuild_in_float32
from tests.artifacts.formats.versions import write_version
from tests.conftest import tiny_embedder
from tests.training.test_trainer import one_batch


def compiled_trainer() -> TripletTrainer:
    trainer = TripletTrainer(tiny_embedder())
    trainer.compile(keras.optimizers.SGD(0.1), loss=BatchHardTripletLoss())
    return trainer


class Seen(keras.callbacks.Callback):
    """Keeps the logs that a callback after the evaluation gets."""

    def __init__(self):
        super().__init__()
        self.logs = []

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(dict(logs))


def test_scores_reach_the_callbacks_after_it_every_n_epochs(tiny_catalog):
    trainer, seen = compiled_trainer(), Seen()
    evaluation = RetrievalEvaluation(tiny_catalog, every=2)
    history = trainer.fit(one_batch(), steps_per_epoch=1, epochs=4, verbose=0, callbacks=[evaluation, seen]).history
    assert ["val_top1" in logs for logs in seen.logs] == [False, True, False, True]
    assert len(history["val_mean_average_precision"]) == 2
    by_hand = score(artifact_of(trainer.embedder), tiny_catalog).result
    assert seen.logs[3]["val_mean_average_precision"] == pytest.approx(by_hand.mean_average_precision)
    assert seen.logs[3]["val_top5"] == by_hand.cmc[4]


def test_a_mixed_precision_model_is_scored_as_it_ships_in_float32(tiny_catalog):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    trainer, evaluation = compiled_trainer(), RetrievalEvaluation(tiny_catalog)
    trainer.fit(one_batch(), steps_per_epoch=1, epochs=2, verbose=0, callbacks=[evaluation])
    shipped = score(artifact_of(rebuild_in_float32(trainer.embedder)), tiny_catalog).result
    np.testing.assert_array_equal(evaluation.score.result.average_precision, shipped.average_precision)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_reference_model_follows_the_weights_also_when_layers_are_frozen(policy):
    """Freezing a layer changes the order of `model.weights`, not which layer a weight belongs to."""
    keras.mixed_precision.set_global_policy(policy)
    embedder, reference = tiny_embedder(), ReferenceModel()
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 16, 3), np.uint8)
    artifact = reference.artifact_of(embedder)
    before = artifact.embed(images)
    embedder.layers[2].trainable = False
    embedder.set_weights([weights + 0.1 for weights in embedder.get_weights()])
    again = reference.artifact_of(embedder)
    assert again.embed_batch is artifact.embed_batch  # traced once
    assert again.network_fingerprint == artifact_of(rebuild_in_float32(embedder)).network_fingerprint
    assert again.network_fingerprint != artifact.network_fingerprint
    np.testing.assert_array_equal(artifact.embed(images), artifact_of(rebuild_in_float32(embedder)).embed(images))
    assert np.abs(artifact.embed(images) - before).max() > 0.01


def test_the_reference_model_of_another_embedder_is_another():
    reference, images = ReferenceModel(), np.zeros((1, 32, 16, 3), np.uint8)
    for embedder in (tiny_embedder(), tiny_embedder()):
        expected = artifact_of(embedder).embed(images)
        np.testing.assert_array_equal(reference.artifact_of(embedder).embed(images), expected)


def test_a_reference_model_on_two_devices_gives_the_same_embeddings():
    """Both names are of one device here; the parts and their order are what is tested, and that copies follow."""
    embedder, reference = tiny_embedder(), ReferenceModel(["CPU:0", "CPU:0"])
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 16, 3), np.uint8)
    for _ in range(2):
        expected = artifact_of(embedder).embed(images)
        np.testing.assert_allclose(reference.artifact_of(embedder).embed(images), expected, rtol=1e-5, atol=1e-6)
        embedder.set_weights([weights + 0.1 for weights in embedder.get_weights()])


def test_an_exporting_function_is_scored_through_its_artifact(tiny_catalog, tmp_path):
    trainer = compiled_trainer()
    paths = []

    def export(embedder):
        paths.append(write_version(embedder, tmp_path, {"format_version": 1, "embedding_size": 8}))
        return paths[-1]

    exported, reference = RetrievalEvaluation(tiny_catalog, artifact=export), RetrievalEvaluation(tiny_catalog)
    trainer.fit(one_batch(), steps_per_epoch=1, epochs=2, verbose=0, callbacks=[exported, reference])
    assert [path.name for path in paths] == ["1", "2"]
    expected = reference.score.result.mean_average_precision
    assert exported.score.result.mean_average_precision == pytest.approx(expected, abs=1e-6)


def test_an_artifact_is_opened_anew_each_time(tiny_catalog, tmp_path):
    metadata = {"format_version": 1, "embedding_size": 8}
    evaluation = RetrievalEvaluation(tiny_catalog, artifact=tmp_path)
    scores = []
    for seed in range(2):
        tf.random.set_seed(seed)
        write_version(tiny_embedder(), tmp_path, metadata)
        logs = {}
        evaluation.on_epoch_end(seed, logs)
        scores.append(logs["val_mean_average_precision"])
    assert scores[0] != scores[1]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.pool, self.dense = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(8)

    def call(self, images, training=False):
        return self.dense(self.pool(tf.cast(images, tf.float32)))


def any_size() -> keras.Model:
    images = keras.Input((None, None, 3))
    return keras.Model(images, keras.layers.Dense(8)(keras.layers.GlobalAveragePooling2D()(images)))


@pytest.mark.parametrize("model", [Subclassed, any_size])
def test_a_model_that_cannot_be_scored_is_refused_before_it_trains(tiny_catalog, model):
    model, steps = model(), []
    model.compile(keras.optimizers.SGD(0.1), "mse")
    counting = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: steps.append(batch))
    images, targets = np.zeros((4, 32, 16, 3)), np.zeros((4, 8))
    with pytest.raises(ReidError, match="^model .*expected a functional or Sequential model from keras.Input"):
        model.fit(images, targets, verbose=0, callbacks=[RetrievalEvaluation(tiny_catalog), counting])
    assert not steps


@pytest.mark.parametrize("given", [[keras.Input((32, 16, 3))], []], ids=["Input", "sizes from the first batch"])
def test_a_sequential_is_scored_as_its_layers_are(tiny_catalog, given):
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(8)]
    model, evaluation = keras.Sequential([*given, *layers]), RetrievalEvaluation(tiny_catalog)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.fit(np.ones((4, 32, 16, 3)), np.ones((4, 8)), verbose=0, callbacks=[evaluation])
    pixels = keras.Input((32, 16, 3))
    by_hand = keras.Model(pixels, layers[2](layers[1](layers[0](pixels))))
    expected = score(artifact_of(by_hand), tiny_catalog).result
    np.testing.assert_allclose(evaluation.score.result.average_precision, expected.average_precision)


def test_a_score_prints_as_one_short_line(tiny_catalog):
    one = score(mean_color_artifact(), tiny_catalog)
    assert str(one).startswith("Score(RetrievalResult(mAP ") and str(one).endswith(" images/s)")
    assert len(str(one)) < 250 and "\n" not in str(one)
    assert str(one.embedded) == "Embedded(12 queries, 26 gallery images, width 3, euclidean)"


def test_every_is_at_least_one_epoch(tiny_catalog):
    with pytest.raises(ReidError, match="every=0, expected at least 1"):
        RetrievalEvaluation(tiny_catalog, every=0)


def test_junk_is_never_embedded_and_distractors_are(tiny_catalog):
    seen = []
    mean_color = mean_color_artifact()

    def embed(images):
        seen.append(len(images))
        return mean_color.embed_batch(images)

    result = score(type(mean_color)("spy", "spy", mean_color.metadata, embed), tiny_catalog).result
    tested = tiny_catalog[tiny_catalog.split != "train"]
    assert (tested.person_id == 0).any() and (tested.person_id == -1).any()
    assert sum(seen) == (tested.person_id != -1).sum()
    assert result.gallery == ((tested.split == "gallery") & (tested.person_id != -1)).sum()


def test_an_empty_split_is_named(tiny_catalog):
    with pytest.raises(ReidError, match="the query split is empty"):
        score(mean_color_artifact(), tiny_catalog[tiny_catalog.split != "query"])


def test_the_table_shows_percent_side_by_side(tiny_catalog):
    scores = score(mean_color_artifact(), tiny_catalog).result.to_dict()
    table = scores_table({"one": scores, "two": {**scores, "top1": 0.12345}})
    header, *rows = table.splitlines()
    assert header.split() == ["one", "two"]
    assert rows[2].split() == ["top-1", "%", f"{100 * scores['top1']:.2f}", "12.35"]
    assert rows[0].startswith("mAP %")
