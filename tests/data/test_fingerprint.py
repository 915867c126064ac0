"""By what a dataset is known again."""

import os
import shutil

import pytest

from keras_reid.data import read_csv_dataset, read_market1501
from keras_reid.data.fingerprint import changed_splits, fingerprint


@pytest.fixture
def copied(synthetic_dir, tmp_path):
    root = tmp_path / "elsewhere" / "copy"
    shutil.copytree(synthetic_dir, root)
    return root


def of(root) -> dict:
    return fingerprint(read_market1501(root), [("market1501", str(root))])


def test_the_same_images_elsewhere_in_another_order_are_the_same(synthetic_dir, copied):
    first = of(synthetic_dir)
    catalog = read_market1501(copied).sample(frac=1, random_state=1)
    again = fingerprint(catalog, [("market1501", f"{copied}/")])
    assert again == first
    train = first["splits"]["train"]
    assert (train["images"], train["people"], train["cameras"]) == (36, 6, 2)
    files = (copied / "bounding_box_train").iterdir()
    assert train["bytes"] == sum(file.stat().st_size for file in files)


def test_what_changes_is_named_with_its_split(synthetic_dir, copied):
    before = of(synthetic_dir)
    image = sorted((copied / "query").iterdir())[0]
    content = image.read_bytes()
    image.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # as long as before
    assert changed_splits(before, of(copied)) == ["query had 12 images of 6 people and has others"]
    image.write_bytes(content)
    assert not changed_splits(before, of(copied))
    sorted((copied / "bounding_box_train").iterdir())[0].unlink()
    changed = changed_splits(before, of(copied))
    assert changed == ["train had 36 images of 6 people and has 35 images of 6 people"]
    assert not changed_splits(before, of(copied), only=("query", "gallery"))


def test_another_camera_is_another_dataset(synthetic_dir):
    catalog, sets = read_market1501(synthetic_dir), [("market1501", str(synthetic_dir))]
    other = catalog.assign(camera_id=catalog.camera_id.where(catalog.index != 0, 9))
    split = catalog.split.iloc[0]
    (line,) = changed_splits(fingerprint(catalog, sets), fingerprint(other, sets))
    assert line.startswith(f"{split} had ")
    gone = catalog[catalog.split != "query"]
    assert changed_splits(fingerprint(catalog, sets), fingerprint(gone, sets)) == ["query is gone"]


def test_ids_of_a_csv_are_known_by_their_names_wherever_it_lies(tmp_path):
    for place in ("here", "there"):
        os.makedirs(tmp_path / place / "photos")
        (tmp_path / place / "photos" / "1.jpg").write_bytes(b"jpeg")
        (tmp_path / place / "photos" / "2.jpg").write_bytes(b"jpeg, too")
    header = "image_path,person_id,camera_id,split\n"
    rows = ["photos/1.jpg,anna,lobby,train\n", "photos/2.jpg,bert,,train\n"]
    found = []
    for place, lines in (("here", rows), ("there", rows[::-1])):
        path = tmp_path / place / "people.csv"
        path.write_text(header + "".join(lines))
        found.append(fingerprint(read_csv_dataset(path), [("csv", str(path))]))
    assert found[0] == found[1]
    assert found[0]["splits"]["train"]["cameras"] == 1
