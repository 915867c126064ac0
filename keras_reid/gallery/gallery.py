"""Gallery: people enrolled, searched, identified and forgotten, on a database that is there already."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from keras_reid.artifacts.augmentation import check_augmentation
from keras_reid.artifacts.embeddings_file import write_embeddings
from keras_reid.errors import ReidError
from keras_reid.evaluation.pooling import pool_embeddings
from keras_reid.evaluation.reranking import rerank as reranked_distances
from keras_reid.gallery import audit
from keras_reid.gallery.adding import add_entries, identities_of, make_or_update
from keras_reid.gallery.approximate import indexed
from keras_reid.gallery.entries import TIMES, entries_of, times_of, without_repeats
from keras_reid.gallery.forgetting import end_interrupted, expire, forget
from keras_reid.gallery.header import Header, calibration_of, check_header, check_keep_days, check_metric
from keras_reid.gallery.inputs import embeddings_of, paths_in
from keras_reid.gallery.nearest import nearest
from keras_reid.gallery.results import Added, Forgotten, Identification, SearchResult, hits_of
from keras_reid.gallery.selection import selection
from keras_reid.gallery.store import Store

_RERANKED = 200  # nearest entries whose order re-ranking may change
_EXPORTED = {"source": "image_path", "identity": "person_id", "camera": "camera_id", "box": "box", "crop": "crop"}


class Gallery:
    """People enrolled in a database: embeddings with identity, camera, time, source, box and crop.

    The first `add` makes it. `with Gallery(...) as gallery:` closes it at the end.

    Args:
        uri: a folder, s3://BUCKET/FOLDER, http://HOST:19530, or a path that ends in .db.
        artifact: embeds the images that are added or searched for, and says metric, network and threshold.
        metric: "euclidean" or "cosine", without an artifact; euclidean for a new gallery.
        network_fingerprint: of the network that made the embeddings, without an artifact.
        test_time_augmentation: of which images are embedded, as in `Artifact.embed`. None takes the gallery's own; that
            of a new one is "none".
        keep_days: entries are forgotten that many days after their time or, where that is not known, after they were
            added: by `add` and `compact`, a day's together. None leaves it as it is; a new gallery keeps them.
        options: of the engine: `storage_options` of a bucket; `token` and `timeout` of a server.

    Raises:
        ReidError: the gallery is of another network, metric or width than the artifact, or is damaged; no server is
            there; or the engine is not installed.
    """

    def __init__(
        self,
        uri: str | os.PathLike,
        *,
        artifact: Any = None,
        metric: str | None = None,
        network_fingerprint: str | None = None,
        test_time_augmentation: str | None = None,
        keep_days: float | None = None,
        **options: Any,
    ):
        check_metric(metric)
        check_keep_days(keep_days)
        if test_time_augmentation is not None:
            check_augmentation(test_time_augmentation)
        self._artifact, self._keep_days = artifact, keep_days
        expected = {"metric": metric, "network_fingerprint": network_fingerprint, "embedding_size": None}
        if artifact is not None:
            expected = {"metric": artifact.metric, "network_fingerprint": artifact.network_fingerprint}
            expected["embedding_size"] = artifact.metadata.get("embedding_size")
        expected["test_time_augmentation"] = test_time_augmentation
        self._store = Store(os.fspath(uri), expected, **options)

    @property
    def header(self) -> Header:
        """Network, metric, width, threshold; ReidError before anything was added."""
        return self._store.header

    @property
    def test_time_augmentation(self) -> str:
        """With which images are embedded that are added or searched for."""
        header = self._store.header_there
        return (self._store.expected if header is None else vars(header))["test_time_augmentation"] or "none"

    @property
    def is_shared(self) -> bool:
        """Whether no lock keeps two writers apart: in a bucket, and on a server."""
        return self._store.engine.lock_file is None

    # --- Who is in it ---

    def add(
        self,
        images: np.ndarray | Sequence,
        *,
        identity: Any = None,
        camera: Any = None,
        time: Any = None,
        until: Any = None,
        source: Any = None,
        box: Any = None,
        crop: Any = None,
    ) -> Added:
        """Adds entries; one that is there already, by its source, box, time and camera, is not added twice.

        An entry that is there under another identity gets the new one; without one it keeps its own. What is known is
        given for each entry, or one value for all, or not at all.

        Args:
            images: float embeddings `[N, D]` or `[D]`; or, with an artifact, uint8 images `[N, H, W, 3]`, a list of
                such images of any sizes, or paths.
            identity: who it is: text or whole numbers.
            camera: text or whole numbers.
            time: ISO 8601 text, datetime, or seconds since 1970; UTC where there is no zone.
            until: the same, of the end of a track that begins at time.
            source: the image's path or the recording's name; paths given as `images` are their own.
            box: left, top, width and height in pixels of the source.
            crop: path of the picture that was cut out.

        Raises:
            ReidError: another width, numbers that are not finite, a wrong value, another process writes to the gallery,
                or the disk is full. What was added before that stays, and the same call adds the rest: LanceDB takes
                fifty thousand entries at a time, all of them or none; Milvus a thousand, without that promise.
        """
        source = paths_in(images) or None if source is None else source
        embeddings = self._embeddings_of(images)
        known = {"identity": identity, "camera": camera, "time": time, "until": until}
        known |= {"source": source, "box": box, "crop": crop}
        entries, embeddings = without_repeats(entries_of(embeddings, **known), embeddings)
        with self._store.writing():
            self._make_or_update(embeddings.shape[1])
            counts = add_entries(self._store, entries, embeddings)
            expire(self._store)
        return counts

    def known_keys(self, wanted: Sequence[str]) -> dict[str, str]:
        """Returns key -> identity of those of the keys that the gallery holds."""
        there = self._store.is_there()
        return self._store.read(lambda: identities_of(self._store.engine, list(wanted))) if there else {}

    def calibrate(self, metadata: Mapping[str, Any]) -> None:
        """Takes over the threshold of an artifact's metadata, with all that is said of how it was calibrated."""
        augmentation = self.header.test_time_augmentation
        calibration = calibration_of(metadata, augmentation)
        if not calibration:
            calibrated = metadata.get("threshold_views") or "none"
            other = "" if metadata.get("threshold") is None else f" for test_time_augmentation={augmentation}"
            other += f", but one for {calibrated}" if other else ""
            raise ReidError(f"the artifact has no threshold yet{other}: calibrate it with evaluate and calibrate_fpr.")
        with self._store.writing():
            self._store.write_header(calibration=calibration)

    def forget(self, *, identity: Any = None, camera: Any = None, before: Any = None, source: Any = None) -> Forgotten:
        """Removes the entries for which all that is given holds, from the disk too; and looks for them there.

        Args:
            identity: one or several.
            camera: one or several.
            before: a time: entries seen before it or, where that is not known, added before it.
            source: one or several.

        Raises:
            ReidError: nothing is given, a wrong value, no gallery there, or another process writes to it.
        """
        selected = selection(identities=identity, cameras=camera, sources=source, before=before)
        if selected.is_all:
            raise ReidError("nothing says whom to forget: expected identity, camera, before or source.")
        self._store.header  # noqa: B018  refuses to make a gallery
        with self._store.writing():
            return forget(self._store, selected)

    def compact(self) -> Forgotten:
        """Forgets what `keep_days` no longer allows, ends an interrupted forget, and leaves the fewest files."""
        width = self._store.header.embedding_size
        with self._store.writing():
            ended = end_interrupted(self._store)
            self._make_or_update(width)
            forgotten = expire(self._store)
            audit.record(self._store.engine, "compact", 0)
            if not (forgotten.entries or ended):
                self._store.purge()
        return forgotten if forgotten.entries or not ended else ended

    def _make_or_update(self, width: int) -> None:
        header = self._store.header_there
        if header is not None:
            check_header(header, self._store.name, embedding_size=width)
        known = {name: value for name, value in self._store.expected.items() if name != "embedding_size"}
        metadata = {} if self._artifact is None else self._artifact.metadata
        make_or_update(self._store, width, keep_days=self._keep_days, metadata=metadata, **known)

    # --- Searching ---

    def search(
        self,
        images: np.ndarray | Sequence,
        k: int = 10,
        *,
        cameras: Any = None,
        not_cameras: Any = None,
        since: Any = None,
        until: Any = None,
        identities: Any = None,
        approximate: bool = False,
        rerank: bool = False,
    ) -> SearchResult:
        """Finds the entries nearest to one person.

        Args:
            images: one embedding `[D]` or several of one person `[N, D]`; or, with an artifact, images or paths as in
                `add`. Several are pooled: their mean.
            k: most entries to find; a smaller gallery gives all that it has.
            cameras: one or several: of these cameras only.
            not_cameras: of no such camera; an entry whose camera is not known is found.
            since: earliest time, as in `add`, or that of a track's end. With `since` or `until`, entries without a time
                are not found.
            until: time before which they were seen.
            identities: of these people only.
            approximate: by an index, which the first such search builds: faster in a large gallery, and it misses some;
                `recall` says how many. Below ten thousand entries, and where the engine has none, the search is exact.
            rerank: reorder the nearest 200, or k if more, by k-reciprocal re-ranking.

        Raises:
            ReidError: another width or network, numbers that are not finite, a wrong value, or no gallery there.
        """
        query, selected = (
            self._query(images, k),
            selection(identities=identities, cameras=cameras, not_cameras=not_cameras, since=since, until=until),
        )
        header = indexed(self._store) if approximate else self.header
        engine, few = self._store.engine, max(k, _RERANKED) if rerank else k
        options = {"metric": header.metric, "approximate": approximate and header.recall is not None}
        entries, embeddings, distances = self._store.read(lambda: nearest(engine, query, few, selected, **options))
        if rerank and len(entries) > 1:
            order = np.argsort(reranked_distances(query[None], embeddings, metric=header.metric)[0], kind="stable")
            entries, embeddings, distances = entries.iloc[order], embeddings[order], distances[order]
        return SearchResult(
            hits_of(entries[:k], distances[:k]),
            embeddings[:k],
            header.metric,
            header.threshold,
            searched=self._store.read(lambda: engine.count(selected)),
            recall=header.recall if approximate else None,
            reranked=rerank,
        )

    def identify(self, images: np.ndarray | Sequence, **where: Any) -> Identification:
        """Tells who of the enrolled one person is, or that it is nobody: by the threshold that the gallery holds.

        Args:
            images: as in `search`.
            where: cameras, not_cameras, since, until, identities, as in `search`.

        Raises:
            ReidError: as `search` does, or there is no threshold.
        """
        query, header = self._query(images, 1), self.header
        if header.threshold is None:
            raise ReidError(
                f"{self._store.name} has no threshold for who is nobody: calibrate the artifact with evaluate and "
                "calibrate_fpr, then take it over with gallery calibrate."
            )
        chosen, engine = selection(**where, named=True), self._store.engine
        entries, _, distances = self._store.read(lambda: nearest(engine, query, 1, chosen, metric=header.metric))
        if not len(entries):
            return Identification(None, None, float("inf"), header.threshold)
        who, distance = str(entries.identity.iloc[0]), float(distances[0])
        return Identification(who if distance <= header.threshold else None, who, distance, header.threshold)

    def _query(self, images: Any, k: int) -> np.ndarray:
        """Returns one embedding, float32 `[D]`."""
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise ReidError(f"k={k!r}: expected a whole number from 1 on.")
        header, found = self.header, self._embeddings_of(images)
        if not len(found):
            raise ReidError("images are empty: expected one or more of the person to search for.")
        check_header(header, self._store.name, embedding_size=found.shape[1])
        if len(found) > 1:
            found, _ = pool_embeddings(found, np.zeros(len(found), int), metric=header.metric)
        return found[0]

    def _embeddings_of(self, images: Any) -> np.ndarray:
        header = self._store.header_there
        metric = self._store.expected["metric"] if header is None else header.metric
        return embeddings_of(images, self._artifact, metric, self.test_time_augmentation)

    # --- All of it ---

    def count(self, **where: Any) -> int:
        """Returns how many entries there are, or that `search`'s cameras, not_cameras, since, ... choose."""
        selected = selection(**where)
        return self._store.read(lambda: self._store.engine.count(selected)) if self._store.is_there() else 0

    def entries(self, *, embeddings: bool = False, **where: Any) -> tuple[pd.DataFrame, np.ndarray | None]:
        """Returns all entries, or those chosen, in the order of their keys: columns as hits have, and added.

        Args:
            embeddings: whether to read them too: float32 `[N, D]`, otherwise None.
            where: as in `count`, and named=True for those with an identity.
        """
        selected, none = selection(**where), np.zeros((0, self.header.embedding_size), np.float32)
        read = self._store.engine.rows
        parts = self._store.read(lambda: list(read(selected, embeddings=embeddings))) or [(entries_of(none), none)]
        frame = pd.concat([frame for frame, _ in parts], ignore_index=True)
        order = np.argsort(frame.key.to_numpy(str), kind="stable")
        frame = frame.iloc[order].reset_index(drop=True)
        frame = frame.assign(**{name: times_of(frame[name]) for name in TIMES})
        return frame, np.concatenate([rows for _, rows in parts])[order] if embeddings else None

    def export(self, path: str | os.PathLike, *, named: bool = False) -> int:
        """Writes all entries, or those with an identity, as a file of embeddings; returns how many.

        The columns are image_path, person_id, camera_id, time, until, box, crop; one of which nothing is known is left
        out. It is what `evaluate`, `gallery add` and, in a SavedModel, `search` take: .parquet, .npz or .csv.
        """
        frame, embeddings = self.entries(embeddings=True, named=named)
        if not len(frame):
            raise ReidError(f"{self._store.name} has no entries{' with an identity' if named else ''} to export.")
        table = pd.DataFrame({new: frame[old].astype("string").replace("", pd.NA) for old, new in _EXPORTED.items()})
        for name in ("time", "until"):
            table[name] = frame[name].map(lambda one: one.isoformat(), na_action="ignore").astype("string")
        about = {"metric": self.header.metric, "network_fingerprint": self.header.network_fingerprint}
        write_embeddings(path, table.dropna(axis=1, how="all"), embeddings, **about)
        return len(frame)

    def log(self) -> pd.DataFrame:
        """Returns the audit log: time, event, entries, and by what a forget chose; it names nobody."""
        return audit.read_log(self._store.read(self._store.engine.records))

    def size(self) -> int | None:
        """Returns the bytes of the gallery's files; None where they are not on this machine."""
        engine = self._store.engine
        return None if engine.folder is None else sum(path.stat().st_size for path in engine.files())

    def close(self) -> None:
        """Lets go of files and connections."""
        self._store.engine.close()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
