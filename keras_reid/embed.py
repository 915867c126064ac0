"""python -m keras_reid.embed --artifact=PATH --images=IMAGES --output=FILE: images in, embeddings out.

IMAGES is a folder, a quoted pattern ('photos/**/*.jpg'), or a .csv with a column image_path, whose other columns
(person_id, camera_id, ...) are kept. FILE ends in .parquet, .npz or .csv.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from keras_reid import options
from keras_reid.artifacts.embeddings_file import check_writable_as, write_embeddings
from keras_reid.data.image_list import list_images
from keras_reid.errors import ReidError


def embed(flags: options.Flags) -> None:
    options.required(flags, "artifact", "images", "output")
    options.check_writable("output", flags.output)
    check_writable_as(flags.output, [])
    if os.path.exists(flags.output) and os.path.realpath(flags.output) == os.path.realpath(flags.images):
        raise ReidError(f"--output={flags.output} is the list of the images itself: give it another name.")
    frame = list_images(flags.images)
    check_writable_as(flags.output, list(frame))

    from keras_reid.artifacts import embed_files, open_artifact  # TensorFlow takes seconds: after the cheap checks

    artifact = open_artifact(flags.artifact)
    embeddings = embed_files(artifact, frame.image_path, batch_size=flags.batch_size, views=flags.views)
    write_embeddings(flags.output, frame, embeddings, metric=artifact.metric)
    count, width = embeddings.shape
    print(f"{count} embeddings of width {width} written to {flags.output}, comparable by {artifact.metric} distance")


def main(argv: Sequence[str] | None = None) -> int:
    return options.run_command(embed, options.embed_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
