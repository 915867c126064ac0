"""python -m keras_reid.compare --artifact=PATH A.jpg B.jpg: the distance of two photos, and what it says.

The distance is by the artifact's own metric. Where the artifact holds a threshold, the answer is "same person" up to
it and "different people" above.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from keras_reid import command, options
from keras_reid.errors import ReidError


def compare(flags: command.Flags) -> None:
    command.required(flags, "artifact")
    images = flags.arguments
    if len(images) != 2:
        raise ReidError(f"expected two images, as in compare --artifact=PATH A.jpg B.jpg; got {len(images)}: {images}.")

    from keras_reid.artifacts import embed_files, open_artifact  # TensorFlow takes seconds: after the cheap checks

    artifact = open_artifact(flags.artifact)
    first, second = embed_files(artifact, images, views=flags.views)
    distance = distance_of(first, second, metric=artifact.metric)
    print(f"{artifact.metric} distance of {images[0]} and {images[1]}: {distance:.6g}")
    if artifact.threshold is None:
        print(
            f"no threshold yet for same person or not: python -m keras_reid.evaluate --artifact={flags.artifact} "
            "--calibrate_fpr=1e-3 --dataset=... --data_dir=... calibrates one"
        )
    else:
        print(answer(distance, artifact.threshold, artifact.metadata))
        calibrated = artifact.metadata.get("threshold_views", "none")
        if calibrated != flags.views:
            print(f"the threshold was calibrated with --views={calibrated}: with {flags.views} its rate may be another")


def distance_of(first: np.ndarray, second: np.ndarray, *, metric: str) -> float:
    """Returns the distance of two embeddings `[D]`, computed in float64.

    Args:
        first: finite numbers.
        second: the same.
        metric: "euclidean", the length of the difference, or "cosine", 1 - cosine similarity.

    Raises:
        ReidError: numbers that are not finite; under cosine, an embedding of length zero.
    """
    first, second = first.astype(np.float64), second.astype(np.float64)
    if not np.isfinite([first, second]).all():
        raise ReidError("an embedding holds NaN or inf: expected finite numbers. Look at the model's weights.")
    if metric == "euclidean":
        return float(np.linalg.norm(first - second))
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    if lengths == 0:
        raise ReidError("an embedding has length zero: cosine needs a direction. Look at the model's weights.")
    return float(1 - first @ second / lengths)


def answer(distance: float, threshold: float, metadata: dict) -> str:
    """Returns what a distance says, beside the threshold, its false positive rate and where that was measured."""
    same = distance <= threshold
    rate, dataset = metadata.get("false_positive_rate"), metadata.get("threshold_dataset")
    rate = "an unknown false positive rate" if rate is None else f"a false positive rate of {rate:g}"
    return (
        f"{'same person' if same else 'different people'}: {'at most' if same else 'above'} the threshold of "
        f"{threshold:.6g}, for {rate} on {dataset or 'an unknown dataset'}\n"
        "this is a hint, never a proof of identity"
    )


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(compare, options.compare_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
