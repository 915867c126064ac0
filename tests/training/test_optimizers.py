"""Schedules against their formula, optimizers against their names, precision against the machine."""

import pytest

from keras_reid.errors import ReidError
from keras_reid.keras2 import keras
from keras_reid.training.optimizers import TrinetSchedule, build_optimizer, build_schedule
from keras_reid.training.precision import resolve_precision


@pytest.mark.parametrize(
    ("step", "expected"),
    # 3e-4 up to t0 = 15,000, then 3e-4 * 0.001 ** ((t - t0) / (t1 - t0)): half way sqrt(0.001), a thousandth at t1.
    [(0, 3e-4), (15_000, 3e-4), (20_000, 3e-4 * 0.001**0.5), (25_000, 3e-7), (26_000, 3e-7)],
)
def test_trinet_schedule_is_the_paper_s(step, expected):
    schedule = build_schedule("trinet", 3e-4, total_steps=25_000)
    assert float(schedule(step)) == pytest.approx(expected, rel=1e-4)


def test_schedule_survives_its_config():
    schedule = TrinetSchedule(0.1, decay_start=3, total_steps=9)
    twin = TrinetSchedule.from_config(schedule.get_config())
    assert [float(twin(n)) for n in range(10)] == [float(schedule(n)) for n in range(10)]


def test_constant_schedule_is_the_number():
    assert build_schedule("constant", 0.25, total_steps=10) == 0.25


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamw", "AdamW"), ("sgd", "SGD")])
def test_optimizers_by_name(name, kind):
    optimizer = build_optimizer(name, 0.5, weight_decay=0.01)
    assert type(optimizer).__name__ == kind
    assert float(keras.backend.get_value(optimizer.learning_rate)) == 0.5
    assert optimizer.weight_decay == (0.01 if name == "adamw" else None)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (lambda: build_schedule("linear", 0.1, total_steps=1), "--schedule=linear, expected one of trinet"),
        (lambda: build_schedule("trinet", 0.0, total_steps=1), "--learning_rate=0.0, expected a number above 0"),
        (lambda: build_schedule("trinet", float("nan"), total_steps=1), "--learning_rate=nan"),
        (lambda: build_optimizer("lion", 0.1), "--optimizer=lion, expected one of adam"),
        (lambda: build_optimizer("adamw", 0.1, weight_decay=-1), "--weight_decay=-1"),
        (lambda: resolve_precision("float16", gpus=0, cpu_has_bfloat16=True), "--mixed_precision=float16, expected"),
    ],
)
def test_wrong_values_are_named(arguments, text):
    with pytest.raises(ReidError, match=text):
        arguments()


@pytest.mark.parametrize(
    ("flag", "gpus", "cpu_has_bfloat16", "policy"),
    [
        ("auto", 1, False, "mixed_float16"),
        ("auto", 1, True, "mixed_float16"),
        ("auto", 0, True, "mixed_bfloat16"),
        ("auto", 0, False, "float32"),
        ("float32", 1, True, "float32"),
        ("mixed_bfloat16", 1, False, "mixed_bfloat16"),
    ],
)
def test_auto_precision(flag, gpus, cpu_has_bfloat16, policy):
    assert resolve_precision(flag, gpus=gpus, cpu_has_bfloat16=cpu_has_bfloat16) == policy
