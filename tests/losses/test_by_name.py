"""The names of `--loss`: ours, and tensorflow-addons' own as baselines, or a clear error where there are none."""

import importlib.util

import numpy as np
import pytest

from keras_reid import TripletTrainer, addons
from keras_reid.errors import ReidError
from keras_reid.keras2 import keras
from keras_reid.losses import LOSSES, batch_hard_triplet_loss, build_loss, semi_hard_triplet_loss
from tests.conftest import tiny_embedder
from tests.training.test_trainer import one_batch

has_addons = importlib.util.find_spec("tensorflow_addons") is not None
with_addons = pytest.mark.skipif(not has_addons, reason="tensorflow-addons is not installed")
PERSON_IDS = np.repeat([3, 1, 2, 5], 4)


@pytest.mark.parametrize("name", LOSSES)
def test_a_name_of_ours(name):
    loss = build_loss(name, margin="0.4", mining_scope="replica")
    assert isinstance(loss, LOSSES[name]) and (loss.margin, loss.mining_scope) == (0.4, "replica")


@with_addons
@pytest.mark.parametrize("name,margin", [("tfa_triplet_hard", "soft"), *((name, 0.4) for name in addons.LOSSES)])
def test_the_trainer_takes_theirs(name, margin):
    trainer = TripletTrainer(tiny_embedder())
    trainer.compile(keras.optimizers.SGD(0.1), build_loss(name, margin=margin))
    before = trainer.embedder.get_weights()
    logs = trainer.fit(one_batch(), steps_per_epoch=2, verbose=0).history
    assert np.isfinite(logs["loss"][0]) and logs["loss"][0] > 0
    assert any(np.any(a != b) for a, b in zip(before, trainer.embedder.get_weights()))


@with_addons
@pytest.mark.parametrize("margin", [0.3, 2.0, "soft"])
def test_where_their_formulas_are_ours(margin):
    """Triplet hard: every anchor valid, no two images equal. Semi-hard: the same, and every pair has a negative."""
    embeddings = np.random.normal(size=(16, 8)).astype(np.float32)
    theirs = build_loss("tfa_triplet_hard", margin=margin)(PERSON_IDS, embeddings)
    np.testing.assert_allclose(batch_hard_triplet_loss(PERSON_IDS, embeddings, margin=margin), theirs, rtol=1e-4)
    if margin != "soft":
        theirs = build_loss("tfa_triplet_semi_hard", margin=margin)(PERSON_IDS, embeddings)
        np.testing.assert_allclose(semi_hard_triplet_loss(PERSON_IDS, embeddings, margin=margin), theirs, rtol=1e-4)


@with_addons
def test_where_theirs_differ_and_why():
    """Theirs counts an anchor without a positive; overflows past a gap of 88; their lifted loss is another formula."""
    single = np.int32([1, 1, 2])
    line = np.float32([[0], [1], [3]])
    # A(0): 1 - 3 + 4 = 2, A(1): 1 - 2 + 4 = 3. Theirs adds B with a positive distance of 0: 0 - 2 + 4 = 2, mean 7 / 3.
    np.testing.assert_allclose(batch_hard_triplet_loss(single, line, margin=4.0), 2.5)
    np.testing.assert_allclose(build_loss("tfa_triplet_hard", margin=4.0)(single, line), 7 / 3, rtol=1e-5)
    far = np.float32([[0], [1000], [1], [1001]])
    assert np.isinf(build_loss("tfa_triplet_hard", margin="soft")(np.int32([1, 1, 2, 2]), far))
    assert batch_hard_triplet_loss([1, 1, 2, 2], far, margin="soft") == 999
    embeddings = np.random.normal(size=(16, 8)).astype(np.float32)
    ours, theirs = (build_loss(name, margin=1.0)(PERSON_IDS, embeddings) for name in ("lifted", "tfa_lifted_struct"))
    assert abs(ours - theirs) > 0.1 * ours


@pytest.mark.skipif(has_addons, reason="tensorflow-addons is installed")
@pytest.mark.parametrize("name", addons.LOSSES)
def test_without_addons_one_line_says_what_to_use(name):
    with pytest.raises(ReidError, match=f"loss={name} needs tensorflow-addons.*Use loss="):
        build_loss(name, margin=0.3)


def test_what_there_is_not():
    with pytest.raises(ReidError, match="loss=triplet, expected one of batch_hard, class_hard"):
        build_loss("triplet", margin=0.3)
    for name in ("contrastive", "circle"):
        with pytest.raises(ReidError, match="margin='soft'"):
            build_loss(name, margin="soft")


@with_addons
@pytest.mark.parametrize("name", ["tfa_triplet_semi_hard", "tfa_lifted_struct"])
def test_theirs_have_no_soft_margin_there(name):
    with pytest.raises(ReidError, match="no soft margin"):
        build_loss(name, margin="soft")
