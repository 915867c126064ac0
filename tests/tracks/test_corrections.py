"""Corrections of links: a page's file parts tracks, and joins them."""

import pandas as pd
import pytest

from keras_reid.errors import ReidError
from keras_reid.tracks.corrections import said_of_tracks
from keras_reid.tracks.linking import link
from tests.tracks.planted import tracks_of


def tracks_with_crops():
    tracks = tracks_of([("door 1", 0, 10), ("hall", 20, 30), ("hall", 50, 60)], [[0.0], [0.1], [0.2]])
    tracks.frame["crops"] = [
        ["crops/door 1/1/3.jpg", "crops/door 1/1/9.jpg"],
        ["crops/hall/1/500.jpg"],
        ["crops/hall/2/1.jpg"],
    ]
    return tracks


def said(*rows):
    return pd.DataFrame(rows, columns=["image_path", "other_path", "verdict"])


def test_what_was_said_of_crops_holds_for_their_tracks(tmp_path):
    tracks = tracks_with_crops()
    file = said(
        ("crops/door 1/1/9.jpg", "crops/hall/1/500.jpg", "not the same"),
        (str(tmp_path / "crops/door 1/1/3.jpg"), "crops/hall/2/1.jpg", "same"),
        ("crops/hall/1/500.jpg", pd.NA, "bad crop"),
    )
    same, different = said_of_tracks(tracks, file, tmp_path)
    assert (same, different) == ([(0, 2)], [(0, 1)])
    assert link(tracks, threshold=1.0).identities.tolist() == [1, 1, 1]
    assert link(tracks, threshold=1.0, same=same, different=different).identities.tolist() == [1, 2, 1]


def test_corrections_of_other_tracks_are_refused(tmp_path):
    with pytest.raises(ReidError, match="'crops/hall/9/1.jpg' is no crop of these tracks"):
        said_of_tracks(tracks_with_crops(), said(("crops/hall/9/1.jpg", "crops/hall/2/1.jpg", "same")), tmp_path)
    with pytest.raises(ReidError, match="are crops of one track"):
        one = said(("crops/door 1/1/9.jpg", "crops/door 1/1/3.jpg", "not the same"))
        said_of_tracks(tracks_with_crops(), one, tmp_path)
