"""Validation identities: who is held out, and that each of their queries has a match."""

import pandas as pd
import pytest

from keras_reid.data.validation import describe_validation, hold_out
from keras_reid.errors import ReidError


def catalog() -> pd.DataFrame:
    """People 1 to 4 can be drawn, 5 (one camera), 6 (each camera once) and 7 (one camera, others missing) cannot."""
    seen = {1: "AABB", 2: "AAB", 3: "ABBBC", 4: "AABBCC", 5: "AAA", 6: "ABC", 7: "AA??"}
    rows = [(f"{one}-{place}", one, camera) for one, cameras in seen.items() for place, camera in enumerate(cameras)]
    frame = pd.DataFrame(rows, columns=["image_path", "person_id", "camera_id"])
    frame["camera_id"] = frame.camera_id.map({"A": 1, "B": 2, "C": 3}).astype("Int64")
    tests = pd.DataFrame({"image_path": ["q", "g"], "person_id": 90, "camera_id": [1, 2]})
    return pd.concat([frame.assign(split="train"), tests.assign(split=["query", "gallery"])], ignore_index=True)


def test_all_that_can_be_drawn_become_query_and_gallery_and_nobody_else():
    whole = catalog()
    rest, held = hold_out(whole, 4, seed=3)
    assert set(held.person_id) == {1, 2, 3, 4} and set(rest.person_id) == {5, 6, 7, 90}
    assert sorted([*rest.image_path, *held.image_path]) == sorted(whole.image_path)
    assert rest.split.value_counts().to_dict() == {"train": 10, "query": 1, "gallery": 1}
    # Cameras with two images or more give one query each: 2 + 1 + 1 + 3.
    queries, gallery = held[held.split == "query"], held[held.split == "gallery"]
    assert queries.groupby("person_id").size().to_dict() == {1: 2, 2: 1, 3: 1, 4: 3}
    assert not queries.duplicated(["person_id", "camera_id"]).any()
    for _, query in queries.iterrows():
        assert ((gallery.person_id == query.person_id) & (gallery.camera_id != query.camera_id)).any()
    assert describe_validation(held).endswith("4 training identities, 7 query and 11 gallery images")


def test_the_seed_alone_decides_who_and_which():
    draws = [hold_out(catalog(), 2, seed=seed)[1] for seed in (0, 0, 1, 2, 3)]
    pd.testing.assert_frame_equal(draws[0], draws[1])
    assert len({tuple(sorted(set(held.person_id))) for held in draws}) > 1


@pytest.mark.parametrize("identities", [5, 7])
def test_more_than_can_be_drawn_are_refused(identities):
    with pytest.raises(ReidError, match=f"validation_identities={identities}, expected at most 4: so many of 7"):
        hold_out(catalog(), identities, seed=0)
    few = catalog()
    with pytest.raises(ReidError, match="expected at most 1"):
        hold_out(few[few.person_id.isin([1, 2, 3])], 2, seed=0)
