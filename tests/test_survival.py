"""A run that is killed, or loses its disk or its data, and goes on as if nothing had been."""

import pytest

from tests import drill
from tests.conftest import TINY_RUN


@pytest.fixture(scope="module")
def undisturbed(synthetic_dir, tmp_path_factory):
    """Arguments, folder and seconds of a run that is left alone."""
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    arguments = [*TINY_RUN, f"--data_dir={synthetic_dir}", *drill.FLAGS]
    exit_code, seconds = drill.train(arguments, run_dir)
    assert exit_code == 0
    return arguments, run_dir, seconds


@pytest.mark.slow
@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.drill)])
def test_a_run_that_was_killed_ends_as_one_that_was_not(undisturbed, tmp_path, kills):
    arguments, run_dir, seconds = undisturbed
    moments = drill.train_and_kill(arguments, tmp_path / "run", kills=kills, seconds=seconds, seed=kills)
    print("\n".join(moments))
    assert len(moments) == kills, moments  # the run was long enough for all of them
    drill.assert_the_same(run_dir, tmp_path / "run")
