"""Catalog: a pandas frame of images, each with its identity, camera and split."""

from __future__ import annotations

import pandas as pd

JUNK_ID = -1  # Market-1501: a false detection of a query person, never counted.
DISTRACTOR_ID = 0  # Market-1501: a person (or none) of no known identity, counted as a wrong answer.


def describe(frame: pd.DataFrame) -> str:
    """Returns a table of a catalog's counts per split: images, identities, cameras, distractors and junk."""
    known = frame.person_id > DISTRACTOR_ID
    rows = {
        split: {
            "images": int((frame.split == split).sum()),
            "identities": frame.person_id[(frame.split == split) & known].nunique(),
            "cameras": frame.camera_id[frame.split == split].nunique(),
            "distractors (id 0)": int(((frame.split == split) & (frame.person_id == DISTRACTOR_ID)).sum()),
            "junk (id -1)": int(((frame.split == split) & (frame.person_id == JUNK_ID)).sum()),
        }
        for split in frame.split.unique()
    }
    return pd.DataFrame.from_dict(rows, orient="index").to_string()
