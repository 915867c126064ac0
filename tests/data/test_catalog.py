"""Tests of what counts as an image of Market-1501, whom it shows, and which data folders are refused."""

import os
import shutil

import pytest
from PIL import Image

from keras_reid.data.catalog import describe
from keras_reid.data.readers.market1501 import read_market1501
from keras_reid.errors import ReidError

TREE = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c2s1_000301_01.jpg", "0007_c3s3_077419_03.jpg"],
    "query": ["0001_c1s1_001051_00.jpg", "1488_c1s6_023021_00.jpg.jpg"],
    "bounding_box_test": [
        "-1_c1s1_000401_03.jpg",
        "0000_c6s3_009992_04.jpg",
        "0001_c2s1_001976_01.JPG",
        "1488_c5s3_012345_02.jpeg",
    ],
}

real_data = pytest.mark.skipif("MARKET1501_DIR" not in os.environ, reason="MARKET1501_DIR names no dataset")


def add_image(folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 8), (200, 30, 30)).save(folder / name, format="JPEG")


@pytest.fixture
def root(tmp_path):
    """Three training images of two people, two queries, four gallery images, and Windows' Thumbs.db everywhere."""
    for folder, names in TREE.items():
        for name in names:
            add_image(tmp_path / folder, name)
        (tmp_path / folder / "Thumbs.db").write_bytes(b"not an image")
    (tmp_path / "gt_bbox").mkdir()
    (tmp_path / "readme.txt").write_text("of the archive")
    return tmp_path


def test_every_image_has_its_row(root):
    """Sorted by split (train, query, gallery), then by file name; the numbers are those of the names above."""
    frame = read_market1501(root)
    assert list(frame.columns) == ["image_path", "person_id", "camera_id", "split"]
    assert frame.split.tolist() == ["train"] * 3 + ["query"] * 2 + ["gallery"] * 4
    assert frame.person_id.tolist() == [2, 2, 7, 1, 1488, -1, 0, 1, 1488]
    assert frame.camera_id.tolist() == [1, 2, 3, 1, 1, 1, 6, 2, 5]
    assert frame.person_id.dtype.kind == frame.camera_id.dtype.kind == "i"
    names = [name for folder in TREE for name in TREE[folder]]
    assert [os.path.basename(path) for path in frame.image_path] == names
    assert all(type(path) is str and os.path.isfile(path) for path in frame.image_path)


def test_path_and_string_are_the_same(root):
    assert read_market1501(str(root)).equals(read_market1501(root))


def test_description_counts_each_kind(root):
    """The gallery: four images of two identities under four cameras, one distractor, one junk."""
    rows = {line.split()[0]: line.split()[1:] for line in describe(read_market1501(root)).splitlines()[1:]}
    assert rows["train"] == ["3", "2", "3", "0", "0"]
    assert rows["query"] == ["2", "2", "1", "0", "0"]
    assert rows["gallery"] == ["4", "2", "4", "1", "1"]


def test_a_png_copy_of_the_dataset_is_read_too(root):
    before = len(read_market1501(root))
    add_image(root / "query", "0002_c1s1_000451_03.png")
    add_image(root / "query", "0002_C1S1_000452_03.JPG.png")
    assert len(read_market1501(root)) == before + 2


@pytest.mark.parametrize(
    "name",
    [
        "portrait.jpg",
        "0002_c1s1_000451.jpg",
        "0002_s1_000451_03.jpg",
        "-2_c1s1_000451_03.jpg",
        "0002_c1s1_000451_03.gif.png",
        "x0002_c1s1_000451_03.jpg",
    ],
)
@pytest.mark.parametrize("folder", TREE)
def test_wrongly_named_image_is_refused_by_name(root, folder, name):
    add_image(root / folder, name)
    with pytest.raises(ReidError) as refusal:
        read_market1501(root)
    assert str(root / folder / name) in str(refusal.value)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(ReidError, match="nowhere.*set data_dir"):
        read_market1501(tmp_path / "nowhere")


@pytest.mark.parametrize("folder", TREE)
def test_missing_split_folder_is_named(root, folder):
    shutil.rmtree(root / folder)
    with pytest.raises(ReidError, match=f"{folder}' does not exist"):
        read_market1501(root)


@pytest.mark.parametrize("folder,split", [("bounding_box_train", "train"), ("query", "query")])
def test_empty_split_is_named(root, folder, split):
    """A folder that holds only Thumbs.db holds no image."""
    for name in TREE[folder]:
        (root / folder / name).unlink()
    with pytest.raises(ReidError, match=f"{split} split is empty.*{folder}"):
        read_market1501(root)


@pytest.mark.parametrize("folder", ["bounding_box_train", "query"])
@pytest.mark.parametrize("name", ["-1_c1s1_000401_03.jpg", "0000_c1s1_000401_03.jpg"])
def test_junk_and_distractors_belong_in_the_gallery(root, folder, name):
    add_image(root / folder, name)
    with pytest.raises(ReidError) as refusal:
        read_market1501(root)
    assert str(root / folder / name) in str(refusal.value)


@real_data
def test_market1501_itself():
    """The counts that the dataset's paper and every later one report."""
    frame = read_market1501(os.environ["MARKET1501_DIR"])
    train, query, gallery = (frame[frame.split == split] for split in ("train", "query", "gallery"))
    assert (len(train), train.person_id.nunique()) == (12_936, 751)
    assert (len(query), query.person_id.nunique()) == (3_368, 750)
    assert (len(gallery), (gallery.person_id != -1).sum()) == (19_732, 15_913)
    assert ((gallery.person_id == 0).sum(), (gallery.person_id == -1).sum()) == (2_798, 3_819)
    assert sorted(frame.camera_id.unique()) == [1, 2, 3, 4, 5, 6]
    assert not set(train.person_id) & set(query.person_id)
    assert set(query.person_id) <= set(gallery.person_id)
