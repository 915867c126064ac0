"""Embedding job of a pipeline: image files to a folder of Parquet files, by as many workers as a runner has.

The folder holds what the workers need, the list of the images and the network, until the job is done. File n holds the
n-th part of the list: which worker embeds an image leaves no trace.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference

from keras_reid.artifacts.beam import storage
from keras_reid.artifacts.beam.network import SavedModelHandler, for_graph, pack_network
from keras_reid.artifacts.beam.runners import in_one_line, runner_of, undisturbed
from keras_reid.artifacts.embeddings_parquet import embeddings_table, part_name
from keras_reid.data.formats import IN_WORDS
from keras_reid.data.places import absolute, is_remote
from keras_reid.data.tables import plain_columns
from keras_reid.errors import ReidError, first_line

SKIPPED = "skipped.csv"  # in the folder: the images that cannot be read, and why
_LIST, _NETWORK = "_images.parquet", "_network.zip"
_UNREADABLE = "unreadable"
_Key = tuple[int, str]  # of an image: its place in the list, and its path


@dataclasses.dataclass(frozen=True)
class Job:
    """What each worker knows.

    Attributes:
        folder: of the Parquet files.
        count: images in the list.
        images_per_file: of each Parquet file but the last.
        metadata: the content of the network's `reid.json`.
        start: the folder from which the list's relative paths count.
        on_error: "stop" at an image that cannot be read, or "skip" it.
    """

    folder: str
    count: int
    images_per_file: int
    metadata: dict
    start: str
    on_error: str

    @property
    def files(self) -> int:
        return -(-self.count // self.images_per_file)

    def rows_of(self, number: int) -> pyarrow.Table:
        """Returns the part of the list that a Parquet file holds."""
        with storage.open_file(f"{self.folder}/{_LIST}") as file:
            return pyarrow.parquet.ParquetFile(file).read_row_group(number)

    def images_of(self, number: int) -> Iterator[_Key]:
        """Yields the images of a Parquet file."""
        paths = self.rows_of(number)["image_path"].to_pylist()
        yield from enumerate(paths, start=number * self.images_per_file)

    def file_of(self, result: tuple[_Key, np.ndarray]) -> tuple[int, tuple[int, np.ndarray]]:
        """Returns the number of the Parquet file of an image, and the image's place in the list with its embedding."""
        (place, _), embedding = result
        return place // self.images_per_file, (place, embedding)

    def checked(self, result: tuple[_Key, np.ndarray | str]) -> tuple[_Key, np.ndarray | str]:
        """Returns a result; ReidError where it stops the job."""
        (_, path), found = result
        if isinstance(found, str):
            if self.on_error == "stop":
                raise ReidError(
                    f"{path!r} cannot be read ({found}). Restore it or move it away. Or leave such images out: "
                    "on_error=skip."
                )
        elif not np.isfinite(found).all():
            raise ReidError(
                f"the embedding of {path!r} holds NaN or inf: look at that image and at the model's weights."
            )
        return result


class _Read(beam.DoFn):
    """Reads image files; those that cannot be read are put aside with the reason."""

    def __init__(self, start: str):
        self._start = start

    def process(self, image: _Key):
        path = image[1] if is_remote(image[1]) else os.path.join(self._start, image[1])
        try:
            with storage.open_file(path) as file:
                yield image, for_graph(file.read())
        except (OSError, ValueError) as error:  # BeamIOError is an OSError, a name with a zero byte a ValueError
            yield beam.pvalue.TaggedOutput(_UNREADABLE, (image, first_line(error)))


class _Write(beam.DoFn):
    """Writes a Parquet file: the rows of its part of the list that have an embedding, in order."""

    def __init__(self, job: Job):
        self._job = job

    def process(self, part: tuple[int, Iterable[tuple[int, np.ndarray | str]]]):
        job, number = self._job, part[0]
        found = sorted((place, row) for place, row in part[1] if not isinstance(row, str))
        places = np.array([place for place, _ in found], np.int64) - number * job.images_per_file
        embeddings = np.array([row for _, row in found], np.float32).reshape(-1, job.metadata["embedding_size"])
        about = {"metric": job.metadata.get("metric", "euclidean")}
        if job.metadata.get("network_fingerprint"):
            about["network_fingerprint"] = job.metadata["network_fingerprint"]
        table = embeddings_table(job.rows_of(number).take(places), embeddings, about)
        with storage.create_file(f"{job.folder}/{part_name(number, job.files)}") as file:
            pyarrow.parquet.write_table(table, file)


def _write_skipped(together: tuple[None, Iterable[tuple[_Key, str]]], folder: str) -> None:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["image_path", "reason"])
    lines.writerows([path, reason] for (_, path), reason in sorted(together[1]))
    with storage.create_file(f"{folder}/{SKIPPED}") as file:
        file.write(text.getvalue().encode())


def add_steps(pipeline: beam.Pipeline, job: Job, *, batch_size: int) -> None:
    """Adds the steps of a job to a pipeline."""
    handler = SavedModelHandler(f"{job.folder}/{_NETWORK}", batch_size=batch_size)
    images = (
        pipeline
        | "number the files" >> beam.Create(range(job.files))
        | "list their images" >> beam.FlatMap(job.images_of)
        | "share them out" >> beam.Reshuffle()
        | "read" >> beam.ParDo(_Read(job.start)).with_outputs(_UNREADABLE, main="contents")
    )
    embedded = images.contents | "embed" >> RunInference(KeyedModelHandler(handler))
    results = (embedded, images[_UNREADABLE]) | beam.Flatten() | "check" >> beam.Map(job.checked)
    _ = (
        results
        | "find their file" >> beam.Map(job.file_of)
        | "group by file" >> beam.GroupByKey()
        | "write" >> beam.ParDo(_Write(job))
    )
    _ = (
        results
        | "unreadable ones" >> beam.Filter(lambda result: isinstance(result[1], str))
        | "together" >> beam.Map(lambda result: (None, result))
        | "group" >> beam.GroupByKey()
        | "list them" >> beam.Map(_write_skipped, job.folder)
    )


def embed_on_runner(
    artifact: str | os.PathLike,
    frame: pd.DataFrame,
    *,
    folder: str,
    runner: str,
    options,
    batch_size: int = 64,
    images_per_file: int = 10_000,
    on_error: str = "stop",
) -> tuple[int, dict]:
    """Embeds image files by a runner of Apache Beam, and writes a folder of Parquet files that is read as one file.

    Args:
        artifact: a SavedModel, a run folder or a `.keras` file.
        frame: N rows with the column image_path, and others that are kept.
        folder: new, or empty; local or in a bucket, where all workers reach it, as they must reach the images.
        runner: of `choices.RUNNERS`.
        options: its options, of `runners.options_of`.
        batch_size: most images at once, and most mebibytes of their files.
        images_per_file: of each Parquet file.
        on_error: "stop" at an image that cannot be read, or "skip" it.

    Returns:
        How many images cannot be read, and the content of the network's `reid.json`.

    Raises:
        ReidError: an image cannot be read under "stop", or none can; an artifact without a SavedModel; a folder that
            holds something; or the pipeline failed. The folder is removed then.
    """
    folder = absolute(folder).rstrip("/")
    _check_free(folder)
    print(f"{runner} embeds {len(frame)} images", flush=True)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            archive, metadata = pack_network(artifact, temporary)
            with open(archive, "rb") as local, storage.create_file(f"{folder}/{_NETWORK}") as file:
                shutil.copyfileobj(local, file)
        rows = pyarrow.Table.from_pandas(plain_columns(frame), preserve_index=False)
        with storage.create_file(f"{folder}/{_LIST}") as file:
            pyarrow.parquet.write_table(rows, file, row_group_size=images_per_file)
        job = Job(folder, len(frame), images_per_file, metadata, os.getcwd(), on_error)
        pipeline = beam.Pipeline(runner=runner_of(runner, options), options=options)
        add_steps(pipeline, job, batch_size=batch_size)
        _run(pipeline, runner)
        skipped = _count_skipped(folder)
        if skipped == len(frame):
            raise ReidError(
                f"none of the {skipped} images can be read, such as {frame.image_path.iloc[0]!r}. Expected {IN_WORDS} "
                "files that all workers reach."
            )
    except BaseException:
        storage.remove_folder(folder)
        raise
    for name in (_NETWORK, _LIST):
        storage.remove_file(f"{folder}/{name}")
    return skipped, metadata


def _check_free(folder: str) -> None:
    storage.check_reachable(folder)
    there = storage.names_in(folder)
    if _LIST in there or _NETWORK in there:
        raise ReidError(f"output={folder} is of a run that was killed, or goes on: remove it, or give another name.")
    if there or (not is_remote(folder) and os.path.isfile(folder)):
        raise ReidError(f"output={folder} is there already: expected a new folder, or an empty one.")


def _run(pipeline: beam.Pipeline, runner: str) -> None:
    result, this_process = None, psutil.Process()
    others = this_process.children(recursive=True)
    try:
        with undisturbed():
            result = pipeline.run()
            state = result.wait_until_finish()
    except KeyboardInterrupt:
        if result is not None:
            with contextlib.suppress(Exception):  # of a runner that is gone
                result.cancel()
        for worker in set(this_process.children(recursive=True)).difference(others):
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()  # Beam's threads would wait for it
        raise
    except Exception as error:  # of any class: a worker's comes as the text of its traceback
        raise ReidError(in_one_line(error)) from error
    if state not in (None, "DONE"):
        raise ReidError(f"the pipeline ended as {state} on {runner}: its log says why.")


def _count_skipped(folder: str) -> int:
    if not storage.exists(f"{folder}/{SKIPPED}"):
        return 0
    with storage.open_file(f"{folder}/{SKIPPED}") as file:
        return len(list(csv.reader(io.TextIOWrapper(file, "utf-8", newline="")))) - 1
