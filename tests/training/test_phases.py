"""Phases of a run: sizes, erasing and stride epoch by epoch, the steps that are left, and what contradicts."""

import pytest

from keras_reid.errors import ReidError
from keras_reid.training import Settings
from keras_reid.training.phases import phase_at, steps_left

SCHEDULE = {"image_size_schedule": "16x16:2, 24x16:5,32x16", "image_height": 32, "image_width": 16}


def test_each_epoch_has_the_size_erasing_and_stride_that_the_flags_say():
    begin = {"random_erasing": 0.5, "erasing_start": 3, "last_stride": 1, "last_stride_start": 6}
    phases = Settings(epochs=7, **begin, **SCHEDULE).phases
    by_epoch = [phase_at(phases, epoch)[2:] for epoch in range(7)]
    small, middle, final = (16, 16), (24, 16), (32, 16)
    expected = [(small, False, 2)] * 2 + [(middle, False, 2)] + [(middle, True, 2)] * 2
    assert by_epoch == [*expected, (final, True, 2), (final, True, 1)]
    assert [(phase.first, phase.end) for phase in phases] == [(0, 2), (2, 3), (3, 5), (5, 6), (6, 7)]
    assert str(phases[2]) == "epochs 4 to 5: images of 24x16, erased"
    assert str(phases[4]) == "epochs 7 to 7: images of 32x16, erased, last stride 1"


def test_without_a_schedule_there_is_one_phase():
    assert Settings(epochs=3).phases == [(0, 3, (256, 128), False, 2)]
    assert Settings(epochs=3, random_erasing=0.5, last_stride=1).phases == [(0, 3, (256, 128), True, 1)]
    begin_too_late = {"random_erasing": 0.5, "erasing_start": 3, "last_stride": 1, "last_stride_start": 3}
    assert Settings(epochs=3, **begin_too_late).phases == [(0, 3, (256, 128), False, 2)]


@pytest.mark.parametrize("step", [0, 7, 8, 13, 20, 27, 28])
def test_steps_are_left_as_they_cost(step):
    """Added up one by one, of 4 steps an epoch: weights, pixels, and the multiplications of the last stage."""
    phases = Settings(epochs=7, last_stride=1, last_stride_start=6, **SCHEDULE).phases
    pixels = [16 * 16] * 8 + [24 * 16] * 12 + [32 * 16] * 4 + [32 * 16 * 1.57] * 4
    costs = [1500 + each for each in pixels]
    expected = sum(costs[step:]) / costs[min(step, 27)]
    assert steps_left(phases, step, 4) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"image_size_schedule": "16x16:2"}, "expected HEIGHTxWIDTH:EPOCH by commas, the last without an epoch"),
        ({"image_size_schedule": "16x16,32x16"}, "expected HEIGHTxWIDTH:EPOCH"),
        ({"image_size_schedule": "16:2,32x16"}, "expected HEIGHTxWIDTH:EPOCH"),
        ({"image_size_schedule": "16x16:3,24x16:3,32x16"}, "epochs that rise, above 0 and below epochs=7"),
        ({"image_size_schedule": "16x16:7,32x16"}, "below epochs=7"),
        ({"image_size_schedule": "16x16:2,24x16"}, "another size than the network's, image_height=32"),
        ({"erasing_start": 2}, "erasing_start=2 needs random_erasing=NUMBER above 0"),
        ({"erasing_start": 8, "random_erasing": 0.5}, "erasing_start=8, expected at most epochs=7"),
        ({"last_stride_start": 2}, "last_stride_start=2 needs last_stride=1: give it, or leave out"),
        ({"last_stride_start": 8, "last_stride": 1}, "last_stride_start=8, expected at most epochs=7"),
        ({"ema_start": 2}, "ema_start=2 needs ema=NUMBER above 0"),
        ({"metric_loss_start": 2}, "metric_loss_start=2 needs identity_loss_weight=NUMBER above 0"),
        ({"metric_loss_ramp": 0.5}, "metric_loss_ramp=0.5 needs identity_loss_weight=NUMBER above 0"),
        ({"metric_loss_ramp": float("nan")}, "metric_loss_ramp=nan, expected at least 0"),
        ({"jit_compile": True, "deterministic": True}, "jit_compile=true does not go with deterministic=true"),
        ({"decayed_weights": "some"}, "decayed_weights=some, expected one of all, kernels"),
    ],
)
def test_what_contradicts_is_named(settings, text):
    with pytest.raises(ReidError, match=text):
        Settings(epochs=7, **{**SCHEDULE, **settings})
