"""More replicas change nothing: loss, gradient, what is learned and reported are those of one with the whole batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_reid.losses import LOSSES
from tests.losses import oracle

ROOT = Path(__file__).parents[2]
# Those that mine each in its own way; the others share their path through a replica.
AMONG_THREE = ["batch_hard", "class_hard", "semi_hard"]


def run_on_replicas(count, names):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__).with_name("replicas_on_cpus.py")), str(count), *names]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def on_two():
    return run_on_replicas(2, LOSSES)


@pytest.fixture(scope="module")
def on_three():
    return run_on_replicas(3, AMONG_THREE)


@pytest.fixture(scope="module", params=["on_two", pytest.param("on_three", marks=pytest.mark.once)])
def on_several(request):
    return request.getfixturevalue(request.param)


def check(seen):
    assert seen["value"] > 0.01 and seen["slope"] > 0.01  # there is something to compare
    assert seen["by_hand"] < 1e-5 * max(1, seen["slope"])


@pytest.mark.parametrize("name", LOSSES)
def test_two_replicas_are_one(on_two, name):
    """Halves of 6 and 6, and of 11 and 1; identities lie in both."""
    check(on_two[name])


@pytest.mark.once
@pytest.mark.parametrize("name", AMONG_THREE)
def test_three_replicas_are_one(on_three, name):
    """Parts of 4, 4, 4, and of 7, none, 5."""
    check(on_three[name])


def test_a_host_projects_fit_learns_the_same(on_several):
    assert on_several["host fit"] < 1e-5


def test_the_trainer_learns_and_reports_the_same(on_several):
    """With identity and center loss beside batch hard, soft margin, two steps."""
    seen = on_several["trainer"]
    assert seen["weights"] < 1e-5 and seen["report"] < 1e-5
    assert seen["learning_rate"] == pytest.approx(0.1)  # not added up


def test_replica_scope_mines_in_each_part_and_takes_one_mean(on_two):
    """Against the loops on each half, over the anchors of both: not the mean of two means."""
    random = np.random.default_rng(0)
    person_ids, features = random.integers(0, 5, 12), random.normal(size=(12, 5)).astype(np.float32)
    total = anchors = 0
    for half in (slice(0, 6), slice(6, 12)):
        ids, distances = person_ids[half], oracle.distances_of(features[half])
        valid = sum(bool(oracle.positives(ids, a) and oracle.negatives(ids, a)) for a in range(6))
        total, anchors = total + oracle.batch_hard(ids, distances, 0.3) * valid, anchors + valid
    assert on_two["replica scope"] == pytest.approx(total / anchors, rel=1e-5)
    assert abs(on_two["replica scope"] - on_two["batch_hard"]["value"]) > 0.01


def test_compiling_for_xla_on_several_replicas_is_refused(on_two):
    assert "jit_compile=True with 2 replicas is not supported" in on_two["jit"]
