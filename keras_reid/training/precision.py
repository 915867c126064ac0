"""Precision of a training run: the Keras dtype policy that `mixed_precision` stands for on this machine."""

from keras_reid.choices import PRECISIONS
from keras_reid.errors import ReidError


def resolve_precision(mixed_precision: str, *, gpus: int, cpu_has_bfloat16: bool) -> str:
    """Returns the Keras policy: "auto" is float16 on a GPU, bfloat16 on a CPU that computes in it, else float32.

    Raises:
        ReidError: not one of `choices.PRECISIONS`.
    """
    if mixed_precision not in PRECISIONS:
        raise ReidError(f"mixed_precision={mixed_precision}, expected one of {', '.join(PRECISIONS)}.")
    if mixed_precision != "auto":
        return mixed_precision
    if gpus:
        return "mixed_float16"
    return "mixed_bfloat16" if cpu_has_bfloat16 else "float32"
