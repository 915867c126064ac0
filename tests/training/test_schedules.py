"""Schedules against their formulas in float64, at each step of the patent's run."""

import math

import numpy as np
import pytest

from keras_reid.errors import ReidError
from keras_reid.training.schedules import StepSchedule, TrinetSchedule, build_schedule

STEPS = 179  # of an epoch; 150 of them are 26,850
RUN = {"epochs": 150, "steps_per_epoch": STEPS}


def warm_up(t, steps):
    return 0.1 + 0.9 * t / steps if t < steps else 1.0


@pytest.mark.parametrize(
    ("step", "expected"),
    # 3e-4 up to t0 = 15,000, then 3e-4 * 0.001 ** ((t - t0) / (t1 - t0)): half way sqrt(0.001), a thousandth at t1.
    [(0, 3e-4), (15_000, 3e-4), (20_000, 3e-4 * 0.001**0.5), (25_000, 3e-7), (26_000, 3e-7)],
)
def test_trinet_schedule_is_the_paper_s(step, expected):
    schedule = build_schedule("trinet", 3e-4, epochs=100, steps_per_epoch=250)
    assert float(schedule(step)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "fall"),
    [
        ("trinet", lambda t: 0.001 ** max(0.0, (t - 16_110) / (26_850 - 16_110))),
        ("cosine", lambda t: 0.5 * (1 + math.cos(math.pi * max(0, t - 1790) / (26_850 - 1790)))),
        # a third and 7/12 of 150 epochs: 50 and 87.5
        ("step", lambda t: 0.1 ** ((t >= 50 * STEPS) + (t >= 15_662))),
        ("constant", lambda t: 1.0),
    ],
)
def test_every_step_of_a_warmed_run_is_the_formula(name, fall):
    schedule = build_schedule(name, 3e-4, warmup_epochs=10, **RUN)
    expected = [3e-4 * warm_up(t, 1790) * fall(t) for t in range(26_851)]
    np.testing.assert_allclose(schedule(np.arange(26_851)), expected, rtol=2e-6, atol=1e-18)


def test_the_strong_baseline_s_rates():
    """Luo et al. 2019: a tenth at the start, 3.5e-4 from epoch 11, a tenth of it from 41, a hundredth from 71."""
    decay = {"warmup_epochs": 10, "decay_epochs": [40, 70]}
    schedule = build_schedule("step", 3.5e-4, epochs=120, steps_per_epoch=202, **decay)
    first_steps = [float(schedule(202 * (epoch - 1))) for epoch in (1, 6, 11, 40, 41, 70, 71, 120)]
    np.testing.assert_allclose(first_steps, [3.5e-5, 1.925e-4, 3.5e-4, 3.5e-4, 3.5e-5, 3.5e-5, 3.5e-6, 3.5e-6], 1e-5)


def test_cosine_is_exact_to_the_last_step():
    """1 + cos(x) in float32 would be 0 or 6e-8 there."""
    schedule = build_schedule("cosine", 1.0, **RUN)
    assert float(schedule(26_849)) == pytest.approx(math.sin(math.pi / 2 / 26_850) ** 2, rel=1e-5)
    assert float(schedule(26_850)) == 0


@pytest.mark.parametrize("name", ["trinet", "cosine", "step", "constant"])
def test_schedules_survive_their_config(name):
    schedule = build_schedule(name, 0.1, epochs=9, steps_per_epoch=3, warmup_epochs=1.5)
    twin = type(schedule).from_config(schedule.get_config())
    assert [float(twin(n)) for n in range(28)] == [float(schedule(n)) for n in range(28)]


def test_schedules_have_defaults_without_warm_up():
    assert float(TrinetSchedule(0.5, decay_start=3, total_steps=9)(0)) == 0.5
    assert float(StepSchedule(0.5)(10**6)) == 0.5


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"name": "linear"}, "schedule=linear, expected one of trinet, cosine"),
        ({"learning_rate": 0.0}, "learning_rate=0.0, expected a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"warmup_epochs": -1}, "warmup_epochs=-1, expected 0 to 150"),
        ({"warmup_epochs": float("nan")}, "warmup_epochs=nan"),
        ({"warmup_epochs": 151}, "warmup_epochs=151, expected 0 to 150: .* of 150 epochs ends"),
        ({"name": "trinet", "warmup_epochs": 91}, "warmup_epochs=91, expected 0 to 90: .* schedule=trinet falls"),
        ({"name": "step", "warmup_epochs": 41, "decay_epochs": [40, 70]}, "warmup_epochs=41, expected 0 to 40"),
        ({"name": "step", "decay_epochs": [70, 40]}, "decay_epochs=70,40, expected ascending"),
        ({"name": "step", "decay_epochs": [40, 40]}, "decay_epochs=40,40, expected ascending"),
        ({"name": "step", "decay_epochs": [40, 150]}, "below epochs=150"),
        ({"name": "step", "decay_epochs": [0, 40]}, "above 0"),
        ({"name": "cosine", "decay_epochs": [40]}, "decay_epochs=40 belongs to schedule=step, but schedule=cosine"),
    ],
)
def test_contradictions_are_named(arguments, text):
    arguments = {"name": "constant", "learning_rate": 3e-4, **arguments}
    with pytest.raises(ReidError, match=text):
        build_schedule(**arguments, **RUN)
