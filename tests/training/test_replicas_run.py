"""Several replicas from the command line: the run of one, again; and what happens when a worker goes.

The network is that of `tiny_train.py`. Each run is a process of its own: see `tests/losses/replicas_on_cpus.py`.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from keras_reid.models import load_keras
from tests.conftest import train_arguments
from tests.test_main_job import wait_until
from tests.training.tiny_train import COMMAND as TINY_TRAIN

ROOT = Path(__file__).parents[2]
LAUNCH = (
    "import sys; from keras_reid import launch; launch._COMMAND = (sys.executable, '-m', 'tests.training.tiny_train'); "
    "sys.exit(launch.main())"
)
# Two steps of 6 people x 3 images each: float32, SGD, statistics of the whole batch wherever it lies.
TWO_STEPS = (
    "--identities_per_batch=6",
    "--images_per_identity=3",
    "--epochs=1",
    "--sync_batch_norm",
    "--optimizer=sgd",
)
TWO_STEPS += ("--mixed_precision=float32", "--schedule=constant", "--learning_rate=0.05", "--ema=0.5")


def start(command, data_dir, run_dir, *more, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT, **options}
    return subprocess.Popen([*command, *train_arguments(data_dir, run_dir, *more)[1:]], env=environment, **options)


def run(command, data_dir, run_dir, *more):
    process = start(command, data_dir, run_dir, *more)
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output[-3000:]
    return output


def launch(workers):
    return [sys.executable, "-c", LAUNCH, f"--workers={workers}", "--"]


@pytest.fixture(scope="module")
def on_one(synthetic_dir, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("replicas") / "one"
    run(TINY_TRAIN, synthetic_dir, run_dir, *TWO_STEPS)
    return run_dir


def check_the_same_run(on_one, other):
    for one, two in zip(
        load_keras(on_one / "last.keras").get_weights(), load_keras(other / "last.keras").get_weights()
    ):
        np.testing.assert_allclose(two, one, atol=1e-5)
    one, two = (pd.read_csv(path / "metrics.csv") for path in (on_one, other))
    assert one.step.tolist() == two.step.tolist() == [2] and one.learning_rate[0] == pytest.approx(0.05)
    np.testing.assert_allclose(two.to_numpy(float), one.to_numpy(float), rtol=1e-5)
    one, two = (json.loads((path / "evaluation.json").read_text()) for path in (on_one, other))
    for name in ("mean_average_precision", "top1"):
        for scores in (("scores", "live"), ("scores", "savedmodel"), ("baselines", "untrained")):
            assert two[scores[0]][scores[1]][name] == pytest.approx(one[scores[0]][scores[1]][name], abs=1e-6)
    assert {path.name for path in other.iterdir()} == {path.name for path in on_one.iterdir()}
    assert [path.name for path in (other / "checkpoints").iterdir()] == ["step-00000002"]


@pytest.mark.once
def test_logical_devices_learn_report_and_score_what_one_does(on_one, synthetic_dir, tmp_path):
    """Parts of 1, 2, 1 and 2 people; two halves are in the test of two workers."""
    flags = [*TWO_STEPS, "--strategy=mirrored", "--replicas=4"]
    output = run(TINY_TRAIN, synthetic_dir, tmp_path / "run", *flags)
    assert "4 replicas, 1 worker; the learning rate is not scaled" in output
    check_the_same_run(on_one, tmp_path / "run")
    output = run(TINY_TRAIN, synthetic_dir, tmp_path / "run", *flags, "--epochs=2")
    assert "going on after step 2 of 4" in output
    assert pd.read_csv(tmp_path / "run" / "metrics.csv").step.tolist() == [2, 4]


def test_two_workers_learn_report_and_score_what_one_does(on_one, synthetic_dir, tmp_path):
    output = run(launch(2), synthetic_dir, tmp_path / "run", *TWO_STEPS)
    assert "2 replicas, 2 workers" in output and output.count("this run is finished") == 1
    check_the_same_run(on_one, tmp_path / "run")


def processes_of(run_dir):
    """Returns process ids, by their place among the workers; none where there is no /proc."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"--run_dir={run_dir}" in (place / "cmdline").read_text().split("\0"):
                environment = dict(
                    text.split("=", 1) for text in (place / "environ").read_text().split("\0") if "=" in text
                )
                rank = json.loads(environment.get("TF_CONFIG", '{"task": {"index": -1}}'))["task"]["index"]
                found.append((rank, int(place.name)))
        except OSError:  # it has just ended
            continue
    return dict(sorted(found))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the workers in /proc")
def test_a_killed_worker_ends_all_at_once_and_the_run_goes_on(synthetic_dir, tmp_path):
    run_dir, more = tmp_path / "run", ("--noscore_baselines", "--schedule=constant", "--evaluate_every=1000")
    process = start(launch(2), synthetic_dir, run_dir, *more, "--epochs=1000")
    wait_until(lambda: (run_dir / "checkpoints" / "step-00000012").exists() or process.poll() is not None)
    os.kill(processes_of(run_dir)[1], signal.SIGKILL)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and "Traceback" not in output, output
    last = output.splitlines()[-1]
    assert last.startswith("error: worker 1 of 2 was killed by SIGKILL") and "the same command goes on" in last
    assert "error: worker 0 cannot reach another one any more, of 1 (127.0.0.1:" in output
    assert not processes_of(run_dir)

    step = int(max(path.name for path in (run_dir / "checkpoints").glob("step-*")).split("-")[1])
    process = start(launch(2), synthetic_dir, run_dir, *more, "--epochs=1000")
    wait_until(lambda: list((run_dir / "checkpoints").glob(f"step-{step + 12:08d}")) or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 143, output
    assert f"going on after step {step} of 6000" in output and "stopped after step" in output
    rows = pd.read_csv(run_dir / "metrics.csv").step
    assert rows.tolist() == list(range(6, 6 * len(rows) + 1, 6)) and len(rows) >= step // 6 + 2
    assert not processes_of(run_dir)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the workers in /proc")
def test_no_worker_outlives_launch(synthetic_dir, tmp_path):
    process = start(launch(2), synthetic_dir, tmp_path / "run", "--epochs=1000", stdout=subprocess.DEVNULL)
    wait_until(lambda: len(processes_of(tmp_path / "run")) == 3)
    process.kill()
    process.wait()
    wait_until(lambda: not processes_of(tmp_path / "run"), seconds=5)
