"""Drill: a run that is killed again and again goes on as if nothing had been. A file of its own: it takes minutes."""

import pytest

from tests import drill
from tests.conftest import TINY_RUN


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "epochs", "seed"),
    # After the first of the four: while a second checkpoint is written, then a third, and at the start.
    [(4, 4, 16), pytest.param(20, 15, 20, marks=pytest.mark.drill)],
)
def test_a_run_that_was_killed_ends_as_one_that_was_not(synthetic_dir, tmp_path, kills, epochs, seed):
    arguments = [*TINY_RUN, f"--data_dir={synthetic_dir}", f"--epochs={epochs}", *drill.FLAGS]
    whole, run_dir = tmp_path / "undisturbed", tmp_path / "run"
    exit_code, start = drill.train(arguments, whole)
    assert exit_code == 0
    # The first while the first checkpoint is written: nothing of the run is left, it begins again.
    assert drill.train(arguments, run_dir, kill=drill.WhileSaving(0.05))[0] == -9
    assert drill.newest_step(run_dir) == 0 and not (run_dir / "last.keras").exists()
    moments = drill.train_and_kill(arguments, run_dir, kills=kills - 1, start=start, seed=seed)
    print(*moments, sep="\n")
    assert len(moments) == kills - 1, moments  # the run was long enough for all of them
    assert len({step for _, step, _ in moments}) > kills // 4, moments  # and they lie apart
    drill.assert_the_same(whole, run_dir)
