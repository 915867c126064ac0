"""Margin: a hinge, or its softplus, of the gap between a positive and a negative distance."""

from typing import Union

from keras_reid.errors import ReidError
from keras_reid.keras2 import tf

Margin = Union[float, str]


def check_margin(margin: Margin) -> Margin:
    """Returns the margin, a float of at least 0 or "soft"; ReidError for anything else."""
    return "soft" if isinstance(margin, str) and margin == "soft" else _number(margin, ", or 'soft' for the softplus")


def check_number_margin(margin: float) -> float:
    """Returns the margin of a formula that has no soft one, a float of at least 0; ReidError for anything else."""
    return _number(margin, "; this loss has no soft margin")


def _number(margin, otherwise: str) -> float:
    try:
        number = float(margin)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 <= number < float("inf"):
        raise ReidError(f"margin={margin!r}, expected a number of at least 0{otherwise}.")
    return number


def hinge_or_softplus(gap: tf.Tensor, margin: Margin) -> tf.Tensor:
    """Returns [gap + margin]+, or softplus of the gap: elementwise, a NaN stays one."""
    # softplus, not log1p(exp(gap)): that overflows float32 from a gap of 88 on.
    return tf.nn.softplus(gap) if margin == "soft" else tf.nn.relu(gap + margin)


def slope_of(gap: tf.Tensor, margin: Margin) -> tf.Tensor:
    """Returns the derivative of `hinge_or_softplus` with respect to the gap: elementwise, 0 at the hinge itself."""
    return tf.sigmoid(gap) if margin == "soft" else tf.cast(gap + margin > 0, gap.dtype)
