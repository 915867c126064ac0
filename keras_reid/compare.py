"""python -m keras_reid.compare --artifact=PATH A.jpg B.jpg: the distance of two photos, and whether it is one person.

The distance is by the artifact's own metric. Where the artifact holds a threshold, the answer is "same person" for
distances up to the threshold and "different people" above it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from keras_reid import command, options
from keras_reid.data.photos import refuse_unreadable
from keras_reid.describing_flags import check_artifact
from keras_reid.errors import ReidError


def compare(flags: command.Flags) -> None:
    command.required(flags, "artifact")
    images = flags.arguments
    if len(images) != 2:
        raise ReidError(f"expected two images, as in compare --artifact=PATH A.jpg B.jpg; got {len(images)}: {images}.")
    refuse_unreadable(images)
    check_artifact(flags)

    from keras_reid.artifacts import embed_files, open_artifact  # TensorFlow takes seconds: after the cheap checks

    artifact = open_artifact(flags.artifact)
    augmentation = flags.test_time_augmentation
    embeddings = embed_files(artifact, images, test_time_augmentation=augmentation)
    distance = float(artifact.distance(embeddings[:1], embeddings[1:])[0])
    print(f"{artifact.metric} distance of {images[0]} and {images[1]}: {distance:.6g}")
    if artifact.threshold is None:
        print(
            f"no threshold yet for same person or not: python -m keras_reid.evaluate --artifact={flags.artifact} "
            "--calibrate_fpr=1e-3 --dataset=... --data_dir=... calibrates one"
        )
        return
    print(answer(distance, artifact.threshold, artifact.metadata))
    calibrated = artifact.metadata.get("threshold_views", "none")
    if calibrated != augmentation:
        print(
            f"the threshold was calibrated with --test_time_augmentation={calibrated}: with {augmentation} its rate "
            "may be another"
        )


def answer(distance: float, threshold: float, metadata: dict) -> str:
    """Returns the verdict on a distance, with the threshold, its false positive rate and where that was measured."""
    same = distance <= threshold
    rate, dataset = metadata.get("false_positive_rate"), metadata.get("threshold_dataset")
    rate = "an unknown false positive rate" if rate is None else f"a false positive rate of {rate:g}"
    if metadata.get("threshold_identities"):
        rate += f" among {metadata['threshold_identities']} enrolled people (stricter than for two photos)"
    return (
        f"{'same person' if same else 'different people'}: {'at most' if same else 'above'} the threshold of "
        f"{threshold:.6g}, for {rate} on {dataset or 'an unknown dataset'}\n"
        "this is a hint, never a proof of identity"
    )


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(compare, options.compare_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
