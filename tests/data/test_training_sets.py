"""Tests of what several datasets become as one catalog, and which part of the training images a run takes."""

import numpy as np
import pandas as pd
import pytest

from keras_reid.data.training_sets import describe_sets, join_catalogs, scored_name, take_part
from keras_reid.errors import ReidError


def catalog(rows, **columns):
    """Rows of (person, camera, split); the images are numbered."""
    frame = pd.DataFrame(rows, columns=["person_id", "camera_id", "split"])
    return frame.assign(image_path=[f"{n}.jpg" for n in range(len(frame))], **columns)


MARKET = catalog(
    [(2, 1, "train"), (2, 6, "train"), (1, 1, "query"), (1, 2, "gallery"), (0, 3, "gallery"), (-1, 4, "gallery")]
)
OTHER = catalog([(7, 1, "train"), (7, 0, "train"), (9, 1, "train"), (8, 1, "query"), (8, 2, "gallery")], tracklet_id=3)


def test_one_set_stays_as_it_is():
    assert join_catalogs([("market1501", MARKET)]) is MARKET
    assert describe_sets(MARKET) == "" and scored_name(MARKET, ["market1501"]) == "market1501"


def test_of_several_sets_all_train_and_the_first_is_scored():
    """Market's people go to 2 and its cameras to 6: the other's 7 and 9 become 3 and 5, its cameras 0 and 1 7 and 8."""
    joined = join_catalogs([("market1501", MARKET), ("mars", OTHER)])
    first, second = joined[joined.dataset_id == 1], joined[joined.dataset_id == 2]
    assert first[list(MARKET)].equals(MARKET)
    assert second.person_id.tolist() == [3, 3, 5] and second.camera_id.tolist() == [8, 7, 8]
    assert set(second.split) == {"train"} and set(second.dataset) == {"mars"} and "tracklet_id" not in joined
    assert joined.person_id.dtype == joined.camera_id.dtype == joined.dataset_id.dtype == "int64"
    assert joined.index.tolist() == list(range(9))
    assert scored_name(joined, []) == "market1501"
    lines = ["1. market1501: 2 training images of 1 identities; scored", "2. mars: 3 training images of 2 identities"]
    assert describe_sets(joined).splitlines() == lines


def test_a_set_without_query_and_gallery_leaves_the_scoring_to_the_next():
    """Junk and distractors of the scored set keep their ids, its people move behind those of the first."""
    train_only = OTHER[OTHER.split == "train"]
    joined = join_catalogs([("csv", train_only), ("market1501", MARKET), ("viper", OTHER)])
    assert scored_name(joined, []) == "market1501"
    assert joined.person_id.tolist() == [7, 7, 9, 11, 11, 10, 10, 0, -1, 12, 12, 14]
    assert joined.dataset_id.tolist() == [1] * 3 + [2] * 6 + [3] * 3


def test_names_and_missing_cameras_live_beside_a_set_without():
    named = catalog([(1, pd.NA, "train"), (2, pd.NA, "train")], person_id_name=["anna", "bob"])
    named["camera_id"] = named.camera_id.astype("Int64")
    joined = join_catalogs([("market1501", MARKET), ("csv", named), ("mars", OTHER)])
    assert joined.person_id_name.tolist() == ["2", "2", "1", "1", "0", "-1", "anna", "bob", "7", "7", "9"]
    assert joined.person_id.tolist() == [2, 2, 1, 1, 0, -1, 3, 4, 5, 5, 7]
    assert joined.camera_id.isna().sum() == 2 and joined.camera_id.tolist()[-3:] == [8, 7, 8]


@pytest.mark.parametrize(
    ("catalogs", "text"),
    [
        ([("csv", OTHER[OTHER.split == "train"])], "csv: no query and gallery images"),
        ([("csv", OTHER[OTHER.split != "gallery"]), ("mars", OTHER[OTHER.split == "train"])], "csv and mars: no query"),
        ([("csv", OTHER[OTHER.split != "train"])], "csv has no training images"),
        ([("market1501", MARKET), ("csv", OTHER[OTHER.split != "train"])], "csv has no training images"),
    ],
)
def test_what_cannot_be_trained_or_scored_is_refused(catalogs, text):
    with pytest.raises(ReidError, match=text):
        join_catalogs(catalogs)


# --- A part of the training images ---

# 40 people with 3 images each, 10 with one, and a test split that is never touched.
PEOPLE = [*np.repeat(np.arange(1, 41), 3), *range(41, 51)]
LARGE = catalog([(person, 1, "train") for person in PEOPLE] + [(99, 1, "query"), (99, 2, "gallery")] * 5)


def training(frame):
    return frame[frame.split == "train"]


@pytest.mark.parametrize("identities", [2, 17, 50])
def test_people_come_with_all_their_images(identities):
    part = take_part(LARGE, identities=identities, seed=3)
    people = training(part).person_id
    assert people.nunique() == identities and (part.split != "train").sum() == 10
    assert all((people == person).sum() == PEOPLE.count(person) for person in people)
    assert part.index.tolist() == list(range(len(part)))


@pytest.mark.parametrize(
    ("images", "people", "pairs"), [(4, 2, 2), (31, 16, 15), (80, 40, 40), (90, 50, 40), (130, 50, 40)]
)
def test_images_are_two_of_each_person_first(images, people, pairs):
    """80 images are the pairs of the 40 who have them; the 10 single images come next, then third ones."""
    part = training(take_part(LARGE, images=images, seed=1))
    counts = part.person_id.value_counts()
    assert (len(part), len(counts), (counts >= 2).sum()) == (images, people, pairs)


def test_the_draw_is_that_of_the_seed_and_keeps_the_order():
    parts = [take_part(LARGE, images=100, seed=seed) for seed in (0, 0, 1)]
    assert parts[0].equals(parts[1]) and not parts[0].equals(parts[2])
    numbers = [int(path[:-4]) for path in parts[0].image_path]
    assert numbers == sorted(numbers)
    both = training(take_part(LARGE, identities=20, images=30, seed=0))
    assert len(both) == 30 and both.person_id.nunique() <= 20
    assert take_part(LARGE).equals(LARGE)


def test_third_images_are_drawn_from_everybody_alike():
    """Among 4,000 people with 2 to 5 images each, a third of the images beyond two is kept of rich and poor."""
    people = np.concatenate([np.repeat(np.arange(n * 1000 + 1, n * 1000 + 1001), n + 2) for n in range(4)])
    frame = catalog([(person, 1, "train") for person in people])
    kept = take_part(frame, images=8000 + 2000).person_id.value_counts()
    shares = [(kept[(kept.index - 1) // 1000 == n] - 2).sum() / (1000 * n) for n in (1, 2, 3)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.04)


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ({"images": 131}, "train_images=131, expected 4 to 130, the number of training images, or 0"),
        ({"images": 3}, "train_images=3"),
        ({"identities": 51}, "train_identities=51, expected 2 to 50, the number of training identities"),
        ({"identities": 1}, "train_identities=1"),
        ({"identities": 2, "images": 100}, "train_images=100, expected 4 to"),
    ],
)
def test_more_than_there_are_is_refused(part, text):
    with pytest.raises(ReidError, match=text):
        take_part(LARGE, **part)
