"""Drill: a run that is killed again and again goes on as if nothing had been. A file of its own: it takes minutes."""

import pytest

from tests import drill
from tests.conftest import TINY_RUN


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "epochs", "seed"),
    # Of the four the first is while the second checkpoint is written, then the third, at the start, and the third.
    [(4, 6, 16), pytest.param(20, 15, 20, marks=pytest.mark.drill)],
)
def test_a_run_that_was_killed_ends_as_one_that_was_not(synthetic_dir, tmp_path, kills, epochs, seed):
    arguments = [*TINY_RUN, f"--data_dir={synthetic_dir}", f"--epochs={epochs}", *drill.FLAGS]
    exit_code, start = drill.train(arguments, tmp_path / "undisturbed")
    assert exit_code == 0
    moments = drill.train_and_kill(arguments, tmp_path / "run", kills=kills, start=start, seed=seed)
    print(*moments, sep="\n")
    assert len(moments) == kills, moments  # the run was long enough for all of them
    assert len({step for _, step, _ in moments}) > kills // 4, moments  # and they lie apart
    drill.assert_the_same(tmp_path / "undisturbed", tmp_path / "run")
