"""The profile of some steps: it is there, and what is learned is the same."""

import numpy as np
import pytest

from keras_reid.keras2 import keras
from keras_reid.training.profiling import ProfileSteps
from tests.training.test_trainer import compiled, one_batch


@pytest.mark.parametrize(("steps_made", "profiled"), [(8, 2), (4, 1)])
def test_steps_after_the_third_are_profiled(tmp_path, capsys, steps_made, profiled):
    profile = ProfileSteps(tmp_path, steps=2)
    compiled().fit(one_batch(), steps_per_epoch=steps_made, verbose=0, callbacks=[profile])
    (folder,) = (tmp_path / "plugins" / "profile").iterdir()
    assert any(file.name.endswith(".xplane.pb") and file.stat().st_size > 1000 for file in folder.iterdir())
    output = capsys.readouterr().out
    assert f"profile of {profiled} steps: {folder}" in output


def test_a_run_that_is_over_before_has_no_profile(tmp_path):
    compiled().fit(one_batch(), steps_per_epoch=3, verbose=0, callbacks=[ProfileSteps(tmp_path, steps=2)])
    assert not list(tmp_path.iterdir())


def test_a_profile_changes_nothing_of_what_is_learned(tmp_path):
    weights = []
    for callbacks in ([], [ProfileSteps(tmp_path, steps=2)]):
        keras.utils.set_random_seed(0)
        trainer = compiled()
        trainer.fit(one_batch(), steps_per_epoch=6, verbose=0, callbacks=callbacks)
        weights.append(trainer.embedder.get_weights())
    for plain, profiled in zip(*weights):
        np.testing.assert_allclose(profiled, plain, rtol=1e-5, atol=1e-7)
