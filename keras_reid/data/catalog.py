"""Catalog: a pandas frame of images, each with its identity, camera and split."""

from __future__ import annotations

import pandas as pd

JUNK_ID = -1  # Market-1501: a false detection of a query person, never counted.
DISTRACTOR_ID = 0  # Market-1501: a person (or none) of no known identity, counted as a wrong answer.


def describe(frame: pd.DataFrame) -> str:
    """Returns a table of a catalog's counts per split: images, identities, cameras, distractors and junk."""
    rows = {}
    for split, images in frame.groupby("split", sort=False):
        rows[split] = {
            "images": len(images),
            "identities": images.person_id[images.person_id > DISTRACTOR_ID].nunique(),
            "cameras": images.camera_id.nunique(),
            "distractors (id 0)": int((images.person_id == DISTRACTOR_ID).sum()),
            "junk (id -1)": int((images.person_id == JUNK_ID).sum()),
        }
    return pd.DataFrame.from_dict(rows, orient="index").to_string()
