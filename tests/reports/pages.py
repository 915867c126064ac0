"""Pages for tests: of embeddings that are drawn, with names that a page must show as text."""

from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image

from keras_reid.data.ids import code_cameras, code_people
from keras_reid.evaluation import Embedded, Report, confidence_intervals
from keras_reid.evaluation.report import per_query
from keras_reid.reports.page import write_page

ROCKET, HEBREW = "\U0001f9d1\u200d\U0001f680", "\u05d3\u05d5\u05d3"
PEOPLE = ("<script>alert(1)</script>", 'O\'Brien "Q" & Co', ROCKET, HEBREW, "=1+1", "a,b")
CAMERAS = ("lobby <1>", "\u05e9\u05e2\u05e8", "3")


def embedded_of(folder=None, *, people=PEOPLE, cameras=CAMERAS, spread=1.0) -> Embedded:
    """Returns a query and two gallery images for each identity and camera; their photos are in a folder.

    The first query's photo is missing, and the second's cannot be decoded. Without a folder there are no photos.
    """
    random, sides = np.random.default_rng(0), []
    centers = random.normal(size=(len(people), 8))
    for side, count in (("query", 1), ("gallery", 2)):
        who = np.repeat(np.arange(len(people)), len(cameras) * count)
        where = np.tile(np.arange(len(cameras)), len(people) * count)
        frame = pd.DataFrame(code_people(pd.Series(people)[who].reset_index(drop=True)))
        if any(cameras):
            frame = frame.assign(**code_cameras(pd.Series(cameras, dtype=object)[where].reset_index(drop=True)))
        if folder is not None:
            frame["image_path"] = [_photo(folder, side, row, random) for row in range(len(frame))]
        rows = centers[who] + spread * random.normal(size=(len(who), 8))
        sides += [frame, rows.astype(np.float32)]
    return Embedded(*sides)


def _photo(folder, side: str, row: int, random) -> str:
    path = folder / f'{side} {row}, "{HEBREW}" é%20\n<b>.jpg'
    if (side, row) == ("query", 1):
        path.write_bytes(b"no picture")
    elif (side, row) != ("query", 0):
        Image.fromarray(random.integers(0, 256, (64, 32, 3), np.uint8)).save(path)
    return str(path)


def report_of(embedded: Embedded, **rules) -> Report:
    """Returns what `evaluate` would report."""
    rules = {"ignore": "same_camera", "missing_cameras": "distinct", **rules}
    result, pairs = embedded.evaluate(**rules), embedded.verify(**rules)
    intervals = confidence_intervals(result, draws=100)
    return Report(result, per_query(embedded.query, result), rules, intervals, verification=pairs)


def write(path, embedded: Embedded, **more) -> Report:
    """Writes the page of some embeddings; returns what it reports."""
    report = report_of(embedded)
    write_page(path, embedded, report, **{"title": "people", "source": "drawn", **more})
    return report
