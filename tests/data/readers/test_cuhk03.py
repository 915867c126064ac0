"""Tests of whom CUHK03's images show and in which split they are, in each layout, and what is refused."""

import os
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from keras_reid.data import read_cuhk03
from keras_reid.errors import ReidError

FOLDERS = {
    "bounding_box_train": ["0001_c1_0.png", "0001_c2_5.png", "0004_c1_39.png"],
    "query": ["0003_c1_21.png", "0003_c2_26.png"],
    "bounding_box_test": ["0003_c1_20.png", "0003_c2_28.png", "1467_c2_14096.png"],
}

# The first person of pair 1 for training, the second for the test; one person of pair 2 and one of pair 5.
PICTURES = [
    "1_001_1_01.png",
    "1_001_2_06.png",
    "1_002_1_01.png",
    "1_002_1_02.png",
    "1_002_2_06.png",
    "1_002_2_07.png",
    "2_001_1_03.png",
    "5_049_2_10.png",
]
# As the authors' file has it: columns, and indices from 1.
PROTOCOL = {
    "filelist": PICTURES,
    "labels": [1, 1, 2, 2, 2, 2, 844, 1467],
    "camId": [1, 2, 1, 1, 2, 2, 1, 2],
    "train_idx": [1, 2, 7, 8],
    "query_idx": [4, 5],
    "gallery_idx": [3, 6],
}
TESTSETS = [[(1, 2), (2, 1)], [(1, 1), (5, 49)]]  # rows of camera pair and person

real_data = pytest.mark.skipif("CUHK03_DIR" not in os.environ, reason="CUHK03_DIR names no dataset")


def add_images(folder, names):
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", (4, 8), (200, 30, 30)).save(folder / name)
    (folder / "Thumbs.db").write_bytes(b"not an image")


def add_np(root):
    for folder, names in FOLDERS.items():
        add_images(root / folder, names)


def write_protocol(root, images="detected", **changes):
    fields = {**PROTOCOL, **changes}
    columns = {name: np.array(values)[:, None] for name, values in fields.items() if values is not None}
    if "filelist" in columns:
        columns["filelist"] = columns["filelist"].astype(object)  # a cell for each name
    savemat(root / f"cuhk03_new_protocol_config_{images}.mat", columns)


def write_testsets(path):
    """In the layout of a MATLAB 7.3 file: a cell array is a row of references to matrices, which are transposed."""
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        cells = [file.create_dataset(f"#refs#/{n}", data=np.array(rows, float).T) for n, rows in enumerate(TESTSETS)]
        references = file.create_dataset("testsets", (1, len(cells)), dtype=h5py.ref_dtype)
        for column, cell in enumerate(cells):
            references[0, column] = cell.ref


@pytest.fixture
def pictures(tmp_path):
    """The extracted pictures beside the protocol file of the new split and the test sets of the classic one."""
    add_images(tmp_path / "images_detected", PICTURES)
    write_protocol(tmp_path)
    write_testsets(tmp_path / "cuhk-03.mat")
    return tmp_path


def rows_of(frame):
    assert list(frame.columns) == ["image_path", "person_id", "camera_id", "split"]
    assert frame.person_id.dtype.kind == frame.camera_id.dtype.kind == "i"
    assert frame.index.tolist() == list(range(len(frame)))
    assert all(type(path) is str and os.path.isfile(path) for path in frame.image_path)
    names = frame.image_path.map(os.path.basename)
    return list(zip(names, frame.person_id, frame.camera_id, frame.split))


# --- CUHK03-NP ---


@pytest.mark.parametrize("below", ["detected", ""])
def test_every_image_of_the_folders_has_its_row(tmp_path, below):
    """Sorted by split (train, query, gallery), then by file name; the numbers are those of the names."""
    add_np(tmp_path / below)
    assert rows_of(read_cuhk03(tmp_path)) == [
        ("0001_c1_0.png", 1, 1, "train"),
        ("0001_c2_5.png", 1, 2, "train"),
        ("0004_c1_39.png", 4, 1, "train"),
        ("0003_c1_21.png", 3, 1, "query"),
        ("0003_c2_26.png", 3, 2, "query"),
        ("0003_c1_20.png", 3, 1, "gallery"),
        ("0003_c2_28.png", 3, 2, "gallery"),
        ("1467_c2_14096.png", 1467, 2, "gallery"),
    ]


def test_detected_and_labeled_folders_are_kept_apart(tmp_path):
    for images in ("detected", "labeled"):
        add_np(tmp_path / images)
    Image.new("RGB", (4, 8)).save(tmp_path / "labeled" / "query" / "0004_c1_3.png")
    assert len(read_cuhk03(tmp_path, images="labeled")) == len(read_cuhk03(tmp_path, images="detected")) + 1
    assert all("labeled" in path for path in read_cuhk03(tmp_path, images="labeled").image_path)
    assert read_cuhk03(str(tmp_path)).equals(read_cuhk03(tmp_path, images="detected"))


def test_folder_of_the_other_boxes_is_refused(tmp_path):
    """Given root/labeled itself, the default would be reported as detected."""
    add_np(tmp_path / "labeled")
    assert len(read_cuhk03(tmp_path / "labeled", images="labeled")) == 8
    with pytest.raises(ReidError, match="images='detected' is wanted, but .*labeled' holds the others.*one folder up"):
        read_cuhk03(tmp_path / "labeled")


@pytest.mark.parametrize("name", ["portrait.png", "0003_c3_21.png", "003_c1_21.png", "0003_c1s1_000451_03.jpg"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_wrongly_named_image_is_refused_by_name(tmp_path, folder, name):
    add_np(tmp_path)
    Image.new("RGB", (4, 8)).save(tmp_path / folder / name)
    with pytest.raises(ReidError) as refusal:
        read_cuhk03(tmp_path)
    assert str(tmp_path / folder / name) in str(refusal.value)


@pytest.mark.parametrize("folder", ["query", "bounding_box_test"])
def test_missing_folder_of_a_split_is_named(tmp_path, folder):
    add_np(tmp_path)
    shutil.rmtree(tmp_path / folder)
    with pytest.raises(ReidError, match=f"{folder}' does not exist.*CUHK03-NP's layout"):
        read_cuhk03(tmp_path)


@pytest.mark.parametrize(("folder", "split"), zip(FOLDERS, ["train", "query", "gallery"]))
def test_empty_split_is_named(tmp_path, folder, split):
    """A folder that holds only Thumbs.db holds no image."""
    add_np(tmp_path)
    for name in FOLDERS[folder]:
        (tmp_path / folder / name).unlink()
    with pytest.raises(ReidError, match=f"the {split} split is empty"):
        read_cuhk03(tmp_path)


# --- The pictures and the new split's protocol file ---


def test_protocol_counts_from_one(pictures):
    """Index 4 is the fourth picture; ids and cameras are the protocol's columns, not parts of the names."""
    assert rows_of(read_cuhk03(pictures)) == [
        ("1_001_1_01.png", 1, 1, "train"),
        ("1_001_2_06.png", 1, 2, "train"),
        ("2_001_1_03.png", 844, 1, "train"),
        ("5_049_2_10.png", 1467, 2, "train"),
        ("1_002_1_02.png", 2, 1, "query"),
        ("1_002_2_06.png", 2, 2, "query"),
        ("1_002_1_01.png", 2, 1, "gallery"),
        ("1_002_2_07.png", 2, 2, "gallery"),
    ]


def test_order_of_the_protocol_does_not_matter(pictures):
    expected = read_cuhk03(pictures)
    write_protocol(pictures, train_idx=[8, 1, 7, 2], query_idx=[5, 4])
    assert read_cuhk03(pictures).equals(expected)


def test_labeled_pictures_have_a_protocol_of_their_own(pictures):
    """The labeled set lacks the fifth picture, so that later indices mean other pictures than in the detected set."""
    add_images(pictures / "images_labeled", PICTURES[:4] + PICTURES[5:])
    shorter = {name: PROTOCOL[name][:4] + PROTOCOL[name][5:] for name in ("filelist", "labels", "camId")}
    write_protocol(pictures, "labeled", **shorter, train_idx=[1, 2, 6, 7], query_idx=[4, 5], gallery_idx=[3])
    labeled = rows_of(read_cuhk03(pictures, images="labeled"))
    assert len(labeled) == len(read_cuhk03(pictures)) - 1
    assert ("1_002_2_07.png", 2, 2, "query") in labeled


def test_picture_that_the_protocol_does_not_list_has_no_row(pictures):
    Image.new("RGB", (4, 8)).save(pictures / "images_detected" / "1_777_1_01.png")
    assert len(read_cuhk03(pictures)) == len(PICTURES)


def test_missing_pictures_are_named(pictures):
    for name in ("1_002_2_06.png", "5_049_2_10.png"):
        (pictures / "images_detected" / name).unlink()
    message = "2 of the 8 pictures .*_detected.mat' lists are not in .*images_detected': 1_002_2_06.png, 5_049_2_10.png"
    with pytest.raises(ReidError, match=message):
        read_cuhk03(pictures)


def test_only_some_of_many_missing_pictures_are_named(pictures):
    for name in PICTURES:
        (pictures / "images_detected" / name).unlink()
    with pytest.raises(ReidError, match=r"8 of the 8 .*1_002_2_06.png, \.\.\.") as refusal:
        read_cuhk03(pictures)
    assert PICTURES[-1] not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query_idx": [0, 4]}, "indices from 0 to 8: expected .* indices from 1"),
        ({"gallery_idx": [3, 9]}, "8 names, .* indices from 1 to 9"),
        ({"labels": [1, 2]}, "8 names, 2 labels, 8 camera ids"),
        ({"camId": None, "query_idx": None}, "has no camId, query_idx: it is not the new split's protocol file"),
    ],
)
def test_bad_protocol_is_named(pictures, changes, message):
    write_protocol(pictures, **changes)
    with pytest.raises(ReidError, match=f"cuhk03_new_protocol_config_detected.mat'.*{message}"):
        read_cuhk03(pictures)


def test_missing_protocol_and_one_that_is_none_are_named(pictures):
    path = pictures / "cuhk03_new_protocol_config_detected.mat"
    path.write_bytes(b"<html>" * 100)
    with pytest.raises(ReidError, match="config_detected.mat' is not a MATLAB file"):
        read_cuhk03(pictures)
    path.unlink()
    with pytest.raises(ReidError, match="config_detected.mat' does not exist: expected the new split's protocol file"):
        read_cuhk03(pictures)


# --- The classic split ---


def test_classic_split_goes_from_the_first_camera_to_the_second(pictures):
    """Test set 1: person 2 of pair 1 and person 1 of pair 2. Pair 5 was not of the first protocol: in no split."""
    assert rows_of(read_cuhk03(pictures, split="classic")) == [
        ("1_001_1_01.png", 1001, 1, "train"),
        ("1_001_2_06.png", 1001, 2, "train"),
        ("1_002_1_01.png", 1002, 1, "query"),
        ("1_002_1_02.png", 1002, 1, "query"),
        ("2_001_1_03.png", 2001, 1, "query"),
        ("1_002_2_06.png", 1002, 2, "gallery"),
        ("1_002_2_07.png", 1002, 2, "gallery"),
    ]


def test_each_test_set_has_its_own_people(pictures):
    """Test set 2: person 1 of pair 1 and, as the file says so, person 49 of pair 5."""
    frame = read_cuhk03(pictures, split="classic", testset=2)
    assert frame.person_id[frame.split == "query"].tolist() == [1001]
    assert frame.person_id[frame.split == "gallery"].tolist() == [1001, 5049]
    assert set(frame.person_id[frame.split == "train"]) == {1002, 2001}


def test_test_sets_may_lie_in_the_folder_of_the_release(pictures):
    expected = read_cuhk03(pictures, split="classic")
    (pictures / "cuhk-03.mat").unlink()
    write_testsets(pictures / "cuhk03_release" / "cuhk-03.mat")
    assert read_cuhk03(pictures, split="classic").equals(expected)


def test_person_of_a_test_set_without_a_picture_is_named(pictures):
    (pictures / "images_detected" / "2_001_1_03.png").unlink()
    with pytest.raises(ReidError, match="1 of the 2 people of test set 1 have no picture in .*: 2_001"):
        read_cuhk03(pictures, split="classic")


@pytest.mark.parametrize("testset", [0, 3, -1])
def test_test_set_that_there_is_not(pictures, testset):
    with pytest.raises(ReidError, match=f"testset={testset}: expected a number from 1 to 2"):
        read_cuhk03(pictures, split="classic", testset=testset)


def test_test_sets_that_cannot_be_read_are_named(pictures):
    path = pictures / "cuhk-03.mat"
    with h5py.File(path, "w") as file:
        file["detected"] = np.zeros(3)
    with pytest.raises(ReidError, match="cuhk-03.mat' holds no test sets"):
        read_cuhk03(pictures, split="classic")
    path.write_bytes(b"<html>")
    with pytest.raises(ReidError, match="cuhk-03.mat' holds no test sets"):
        read_cuhk03(pictures, split="classic")
    path.unlink()
    with pytest.raises(ReidError, match="cuhk-03.mat' does not exist"):
        read_cuhk03(pictures, split="classic")


def test_wrongly_named_picture_is_refused_by_name(pictures):
    Image.new("RGB", (4, 8)).save(pictures / "images_detected" / "6_001_1_01.png")
    with pytest.raises(ReidError, match="6_001_1_01.png' is not named like CUHK03's images"):
        read_cuhk03(pictures, split="classic")


# --- What is neither ---


def test_missing_root_is_named(tmp_path):
    with pytest.raises(ReidError, match="nowhere' does not exist.*set data_dir"):
        read_cuhk03(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "old"}, "split='old' is unknown: expected one of new, classic"),
        ({"images": "drawn"}, "images='drawn' is unknown: expected one of detected, labeled"),
        ({}, "neither layout of CUHK03.*images_detected"),
        ({"images": "labeled"}, "neither layout of CUHK03.*images_labeled"),
        ({"split": "classic"}, "neither layout of CUHK03.*new split only"),
    ],
)
def test_other_layouts_and_options_are_refused(tmp_path, options, message):
    with pytest.raises(ReidError, match=message):
        read_cuhk03(tmp_path, **options)


def test_folders_of_the_new_split_have_no_classic_one(tmp_path):
    add_np(tmp_path / "detected")
    with pytest.raises(ReidError, match="expected detected/bounding_box_train .CUHK03-NP, new split only."):
        read_cuhk03(tmp_path, split="classic")


@real_data
@pytest.mark.parametrize(("images", "counts"), [("detected", (7365, 1400, 5332)), ("labeled", (7368, 1400, 5328))])
def test_cuhk03_itself(images, counts):
    """The counts that the new split's authors report."""
    frame = read_cuhk03(os.environ["CUHK03_DIR"], images=images)
    parts = [frame[frame.split == split] for split in ("train", "query", "gallery")]
    assert tuple(len(part) for part in parts) == counts
    assert [part.person_id.nunique() for part in parts] == [767, 700, 700]
    assert sorted(frame.camera_id.unique()) == [1, 2]
    assert not set(parts[0].person_id) & set(parts[1].person_id)
