"""python -m keras_reid.embed --artifact=PATH --images=IMAGES --output=FILE: images in, embeddings out.

IMAGES is a folder, a quoted pattern ('photos/**/*.jpg'), or a .csv with a column image_path, whose other columns
(person_id, camera_id, ...) are kept. FILE ends in .parquet, .npz or .csv. The same command goes on where it was
interrupted: finished parts are kept in FILE.parts until FILE is written. With --on_error=skip, FILE.skipped.txt lists
the images that were left out.

With --runner many workers embed, on a runner of Apache Beam whose options follow after --: FILE is a folder then, of
.parquet files that are read as one, and skipped.csv in it lists the images that were left out, and why. IMAGES and FILE
may be in a bucket (gs://, s3://). Nothing is kept of an interrupted run.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from keras_reid import command, options
from keras_reid.artifacts.beam import runners
from keras_reid.artifacts.embeddings_file import check_writable_as, write_embeddings
from keras_reid.data.image_list import list_images
from keras_reid.describing_flags import check_artifact
from keras_reid.errors import ReidError
from keras_reid.files import write_text

_NAMES_ON_SCREEN = 20


def embed(flags: command.Flags) -> None:
    if not flags.runner:
        command.refuse_arguments(flags)  # they are options of a runner
    command.required(flags, "artifact", "images", "output")
    if flags.runner:
        return _embed_on_runner(flags)
    command.check_writable("output", flags.output)
    check_writable_as(flags.output, [])
    if os.path.exists(flags.output) and os.path.realpath(flags.output) == os.path.realpath(flags.images):
        raise ReidError(f"--output={flags.output} is the list of the images itself: give it another name.")
    frame = list_images(flags.images)
    check_writable_as(flags.output, list(frame))
    skipped_file, parts = f"{flags.output}.skipped.txt", f"{flags.output}.parts"
    command.check_writable("output", skipped_file)
    check_artifact(flags)

    # TensorFlow takes seconds: after the checks.
    from keras_reid.artifacts import embed_in_parts, open_artifact, remove_parts

    artifact = open_artifact(flags.artifact)
    options_ = command.given(flags, "batch_size", "test_time_augmentation", "on_error")
    embeddings, readable = embed_in_parts(artifact, frame.image_path, folder=parts, **options_)
    _report_skipped(frame.image_path[~readable].tolist(), len(frame), skipped_file)
    about = {"metric": artifact.metric, "network_fingerprint": artifact.network_fingerprint}
    write_embeddings(flags.output, frame[readable].reset_index(drop=True), embeddings, **about)
    remove_parts(parts)
    count, width = embeddings.shape
    print(f"{count} embeddings of width {width} written to {flags.output}, comparable by {artifact.metric} distance")


def _embed_on_runner(flags: command.Flags) -> None:
    if flags.test_time_augmentation != "none":
        raise ReidError(f"--test_time_augmentation={flags.test_time_augmentation} does not go with --runner.")
    logging.getLogger().setLevel(logging.CRITICAL)  # what fails is said in one line
    runners.import_beam()
    from keras_reid.artifacts.beam.job import SKIPPED, embed_on_runner
    from keras_reid.artifacts.beam.storage import list_images as list_anywhere

    runner_options = runners.options_of(flags.runner, flags.arguments)
    check_artifact(flags)
    frame = list_anywhere(flags.images)
    check_writable_as("embeddings.parquet", list(frame))
    options_ = command.given(flags, "runner", "batch_size", "images_per_file", "on_error")
    skipped, metadata = embed_on_runner(flags.artifact, frame, folder=flags.output, options=runner_options, **options_)
    width, metric = metadata["embedding_size"], metadata.get("metric", "euclidean")
    left_out = f"; {skipped} images cannot be read, {flags.output}/{SKIPPED} says why" if skipped else ""
    written = f"{len(frame) - skipped} embeddings of width {width} written to {flags.output}"
    print(f"{written}, comparable by {metric} distance{left_out}")


def _report_skipped(paths: list[str], count: int, file: str) -> None:
    if not paths:
        Path(file).unlink(missing_ok=True)  # of an earlier job
        return
    write_text(file, "".join(f"{path}\n" for path in paths))
    print(f"{len(paths)} of {count} images cannot be read (missing, truncated or no image) and are left out:")
    for path in paths[:_NAMES_ON_SCREEN]:
        print(f"  {path}")
    more = len(paths) - _NAMES_ON_SCREEN
    print(f"  and {more} more: {file} lists them all" if more > 0 else f"  also listed in {file}")


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(embed, options.embed_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
