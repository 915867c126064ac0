"""python -m keras_reid.visualize --artifact=PATH --dataset=NAME --data_dir=DIR --output=FOLDER: pictures of results.

ranked_lists shows queries and the gallery images nearest to them, right, wrong or ignored; attention shows where in a
query and a gallery image lies what made them close; embedding_map shows the embeddings as points on a plane.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from keras_reid import choices, command, options
from keras_reid.artifacts.places import locate
from keras_reid.data import describe, read_dataset
from keras_reid.describing_flags import check_artifact
from keras_reid.errors import ReidError

_CHOSEN = ("worst", "best", "random")


def visualize(flags: command.Flags) -> None:
    # --- All that is cheap to check, before TensorFlow is loaded.
    check(flags)
    catalog = read_dataset(flags.dataset, flags.data_dir, camera_pattern=flags.camera_pattern)
    print(describe(catalog), flush=True)
    query = catalog[catalog.split == "query"].reset_index(drop=True)
    named = None if flags.queries[0] in _CHOSEN else rows_of(flags.queries, query)

    # --- Embeddings.
    from keras_reid.artifacts import open_artifact
    from keras_reid.evaluation.embedding import embed_catalog
    from keras_reid.evaluation.ranked import choose_queries, ranked_lists
    from keras_reid.reports import plots, sheets
    from keras_reid.reports.embedding_map import check_method

    if "embedding_map" in flags.what:
        check_method(flags.map)
    artifact = open_artifact(flags.artifact)
    embedded = embed_catalog(artifact, catalog, batch_size=flags.batch_size)

    # --- Ranked lists of the queries that are asked for.
    figures, rules = {}, command.given(flags, "ignore", "missing_cameras")
    if {"ranked_lists", "attention"} & set(flags.what):
        if flags.missing_cameras == "leave_out":
            embedded = embedded.without_missing_cameras()
        result = embedded.evaluate(**rules)
        rows = choose_queries(result, flags.queries[0], flags.count, seed=flags.seed) if named is None else named
        lists = ranked_lists(embedded, rows, depth=flags.top, **rules)
        kind = f"{flags.queries[0]} {len(rows)} of" if named is None else f"{len(rows)} of"
        title = f"{flags.dataset}: {kind} {result.queries:,} queries"
    if "ranked_lists" in flags.what:
        how = {"columns": flags.top, "notes": sheets.precisions(result, rows)}
        figures["ranked_lists"] = sheets.draw_ranked_lists(embedded, lists, title=title, **how)
    if "attention" in flags.what:
        columns = max(1, flags.top // 2)
        figures["attention"] = sheets.draw_attention(artifact, embedded, lists, title=title, columns=columns)
    if "embedding_map" in flags.what:
        figures["embedding_map"] = map_of(embedded, flags)
    for name, figure in figures.items():
        path = Path(flags.output, f"{name}.{flags.format}")
        plots.save(figure, path)
        print(f"drawn {path}")


def check(flags: command.Flags) -> None:
    """Raises ReidError for flags that are missing or do not fit, and places that cannot be written."""
    command.required(flags, "artifact", "data_dir", "output")
    if not flags.what or not set(flags.what) <= set(choices.VISUALS):
        raise ReidError(f"--what={','.join(flags.what)}, expected one or more of {', '.join(choices.VISUALS)}.")
    if not flags.queries:
        raise ReidError(f"--queries is empty: expected {', '.join(_CHOSEN)}, or file names of queries by commas.")
    command.check_folder("output", flags.output)
    check_artifact(flags)
    kind, place = locate(flags.artifact)
    if "attention" in flags.what and kind != "keras":
        raise ReidError(
            f"--what=attention needs the gradients of a Keras network, and {str(place)!r} ({kind}) has none: give the "
            "run folder or a .keras file of the same network, or leave attention out."
        )


def rows_of(names: Sequence[str], query: pd.DataFrame) -> np.ndarray:
    """Returns the rows of queries by file name or path, each once; ReidError where a name fits none or several."""
    found = {}
    for name in names:
        paths = [str(path) for path in query.image_path]
        rows = [row for row, path in enumerate(paths) if name in (path, os.path.basename(path))]
        if not rows:
            expected = f"{', '.join(_CHOSEN)}, or file names such as {', '.join(map(os.path.basename, paths[:3]))}"
            raise ReidError(f"--queries={name}: no query is called that; expected {expected}.")
        if len(rows) > 1:
            raise ReidError(
                f"--queries={name}: {len(rows)} queries are called that; give the path, as {paths[rows[0]]}."
            )
        found[rows[0]] = None
    return np.array(list(found))


def map_of(embedded, flags: command.Flags):
    """Returns the figure of the map of query and gallery."""
    from keras_reid.reports import plots
    from keras_reid.reports.embedding_map import map_embeddings, paint_embedding_map

    images = pd.concat([embedded.query, embedded.gallery], ignore_index=True)
    embeddings = np.concatenate([embedded.query_embeddings, embedded.gallery_embeddings])
    how = {"method": flags.map, "metric": embedded.metric, "seed": flags.seed}
    found = map_embeddings(embeddings, images.person_id.to_numpy(), **how)
    about = {"dataset": flags.dataset, "method": flags.map}
    return plots.painted(lambda axes: paint_embedding_map(axes, found, images, **about), (7.5, 5.0))


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(visualize, options.visualize_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
