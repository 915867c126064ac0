"""A run that loses its disk or its data, or was killed at its start: nothing that was saved is lost."""

import resource
import shutil
import threading

import pytest

from keras_reid import train
from keras_reid.files import is_leftover
from keras_reid.training.run_folder import RunFolder
from tests.conftest import train_arguments
from tests.test_main_job import wait_until


@pytest.mark.slow
def test_a_data_set_that_is_removed_in_mid_run_ends_it_in_a_line_and_the_checkpoint_stays(
    synthetic_dir, tmp_path, refused
):
    data, run_dir = tmp_path / "data", tmp_path / "run"
    shutil.copytree(synthetic_dir, data)
    arguments = train_arguments(data, run_dir, "--epochs=50", "--noscore_baselines", "--cache=none")
    # Not "synthetic": that would be rendered again.
    arguments[arguments.index("--dataset=synthetic")] = "--dataset=market1501"

    def remove_once_saved():
        wait_until(lambda: any(run_dir.glob("checkpoints/step-*")))
        shutil.rmtree(data)

    threading.Thread(target=remove_once_saved, daemon=True).start()
    error = refused(train.main, arguments)
    assert "cannot be read (missing, truncated or no image)" in error
    kept = sorted(run_dir.glob("checkpoints/step-*"))

    assert str(data) in refused(train.main, arguments)  # the same command, while it is gone
    assert sorted(run_dir.glob("checkpoints/step-*")) == kept


@pytest.mark.once
def test_a_disk_that_fills_up_ends_the_run_in_a_line_and_the_checkpoints_stay(
    resnet50, finished_resnet50, synthetic_dir, tmp_path, refused
):
    run_dir = tmp_path / "run"
    shutil.copytree(finished_resnet50, run_dir)
    kept = {path: path.stat().st_size for path in run_dir.rglob("step-*/*")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000_000, limits[1]))  # no file grows beyond, as on a full disk
    try:
        error = refused(train.main, train_arguments(synthetic_dir, run_dir, "--epochs=3"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "the disk is full: free some space and give the same command again" in error
    assert {path: path.stat().st_size for path in run_dir.rglob("step-*/*")} == kept
    assert not [path for path in run_dir.rglob("*") if is_leftover(path)]


def test_a_folder_in_which_a_run_was_killed_before_it_had_a_name_is_as_good_as_empty(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / ".run.part-0a1b2c3d.flags").write_text("--epo")
    RunFolder(run_dir).check({}, resume="auto", allow_flag_changes=False)
