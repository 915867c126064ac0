"""Tests of what the readers make of MSMT17, MARS, VIPeR and the 500k distractors, on small trees in their layouts."""

import os

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from keras_reid import choices
from keras_reid.data import (
    read_dataset,
    read_market1501,
    read_market1501_500k,
    read_mars,
    read_msmt17,
    read_viper,
)
from keras_reid.data.readers.by_name import READERS
from keras_reid.errors import ReidError


def add_images(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 8), (30, 200, 30)).save(root / name)


def base_names(frame):
    return [os.path.basename(path) for path in frame.image_path]


# --- Market-1501 with the 500k distractors ---

MARKET = ("bounding_box_train/0002_c1s1_000451_03.jpg", "query/0001_c1s1_001051_00.jpg")
MARKET += ("bounding_box_test/0001_c2s1_001976_01.jpg", "gt_bbox/0001_c1s1_001051_00.jpg")
DISTRACTORS = ("0000_c3s1_000001_00.jpg", "0017_c4s2_000002_00.jpg", "-1_c5s1_000003_00.jpg")


@pytest.mark.parametrize("market", ["", "Market-1501-v15.09.15/"])
@pytest.mark.parametrize("images", ["images/", "Market-1501-v15.09.15/images/"])
def test_distractors_join_the_gallery_as_nobody(tmp_path, market, images):
    if not market and images != "images/":
        pytest.skip("the folder is Market-1501's itself")
    add_images(tmp_path, [market + name for name in MARKET] + [images + name for name in DISTRACTORS])
    frame = read_market1501_500k(tmp_path)
    assert frame.split.tolist() == ["train", "query", *["gallery"] * 4, "multi_query"]
    assert frame.person_id.tolist() == [2, 1, 1, -1, 0, 0, 1]  # in the order of the names: -1, 0000, 0017
    assert frame.camera_id.tolist() == [1, 1, 2, 5, 3, 4, 1]
    plain = read_market1501(tmp_path / market)
    assert frame[frame.person_id > 0].reset_index(drop=True).equals(plain)


def test_without_distractors_it_says_where_they_go(tmp_path):
    add_images(tmp_path, MARKET)
    with pytest.raises(ReidError, match="images' holds no image: expected the 500,000 distractors"):
        read_market1501_500k(tmp_path)
    add_images(tmp_path, ["images/holiday.jpg"])
    with pytest.raises(ReidError, match="holiday.jpg' is not named like"):
        read_market1501_500k(tmp_path)


# --- MSMT17 ---

LISTS = {
    "list_train.txt": ["0000/0000_000_01_0303morning_0008_0.jpg 0", "0001/0001_000_15_0303noon_0017_2.jpg 1"],
    "list_val.txt": ["0000/0000_001_02_0303morning_0009_1.jpg 0"],
    "list_query.txt": ["0000/0000_000_03_0113noon_0001_0.jpg 0"],
    "list_gallery.txt": ["0000/0000_001_04_0113noon_0002_0.jpg 0", "0007/0007_000_04_0113noon_0003_0.jpg 7"],
}


def write_msmt17(root, train="train", test="test", lists=LISTS):
    for name, lines in lists.items():
        folder = train if name in ("list_train.txt", "list_val.txt") else test
        add_images(root, [f"{folder}/{line.split()[0]}" for line in lines])
        (root / name).write_text("".join(f"{line}\n" for line in lines))
    return root


@pytest.mark.parametrize(
    ("inside", "train", "test"),
    [("", "train", "test"), ("MSMT17_V1", "train", "test"), ("MSMT17_V2", "mask_train_v2", "mask_test_V2")],
)
def test_msmt17_joins_train_and_val_and_tells_test_people_apart(tmp_path, inside, train, test):
    """Person 0 of the training and person 0 of the test are two people: 1 and 10001."""
    write_msmt17(tmp_path / inside, train, test)
    frame = read_msmt17(tmp_path)
    assert list(frame.columns) == ["image_path", "person_id", "camera_id", "split"]
    assert frame.split.tolist() == ["train"] * 3 + ["query"] + ["gallery"] * 2
    assert frame.person_id.tolist() == [1, 2, 1, 10001, 10001, 10008]
    assert frame.camera_id.tolist() == [1, 15, 2, 3, 4, 4]
    assert all(os.path.isfile(path) for path in frame.image_path)
    assert read_dataset("msmt17", tmp_path).equals(frame)


@pytest.mark.parametrize("name", LISTS)
def test_msmt17_needs_each_list_and_something_in_it(tmp_path, name):
    write_msmt17(tmp_path)
    if name != "list_val.txt":
        (tmp_path / name).write_text("\n")
        if name == "list_train.txt":
            (tmp_path / "list_val.txt").write_text("")
        with pytest.raises(ReidError, match=f"split is empty.*{name}"):
            read_msmt17(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ReidError, match="list_train.txt|does not exist: expected the four lists"):
        read_msmt17(tmp_path)


@pytest.mark.parametrize(
    "line", ["0000_000_01_0303morning_0008_0.jpg", "0000/photo.jpg 0", "../0000_000_01_x.jpg 0", "0000/0_0_1_x.jpg -1"]
)
def test_msmt17_names_a_line_that_is_none(tmp_path, line):
    write_msmt17(tmp_path)
    with open(tmp_path / "list_query.txt", "a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ReidError, match="list_query.txt', line 2 is"):
        read_msmt17(tmp_path)


def test_msmt17_names_what_is_missing(tmp_path):
    write_msmt17(tmp_path)
    (tmp_path / "test" / "0007" / "0007_000_04_0113noon_0003_0.jpg").unlink()
    with pytest.raises(ReidError, match="1 images that a list of .* do not exist: .*0007_000_04"):
        read_msmt17(tmp_path)
    os.rename(tmp_path / "test", tmp_path / "tests")
    with pytest.raises(ReidError, match="no folder test or mask_test_v2"):
        read_msmt17(tmp_path)
    with pytest.raises(ReidError, match="nowhere' does not exist"):
        read_msmt17(tmp_path / "nowhere")


def test_two_versions_of_msmt17_are_not_mixed(tmp_path):
    write_msmt17(tmp_path / "MSMT17_V1")
    write_msmt17(tmp_path / "MSMT17_V2", "mask_train_v2", "mask_test_v2")
    with pytest.raises(ReidError, match="MSMT17_V1 and MSMT17_V2: set data_dir to one"):
        read_msmt17(tmp_path)


# --- MARS ---

TRAIN = ["0001C1T0001F001.jpg", "0001C1T0001F002.jpg", "0001C2T0002F001.jpg"]
TEST = ["00-1C1T0001F001.jpg", "0000C3T0001F001.jpg", "0002C1T0001F001.jpg", "0002C1T0001F002.jpg"]
TEST += ["0002C2T0002F001.jpg"]
TRAIN_TRACKS = [[1, 2, 1, 1], [3, 3, 1, 2]]
TEST_TRACKS = [[1, 1, -1, 1], [2, 2, 0, 3], [3, 4, 2, 1], [5, 5, 2, 2]]


def write_mars(root, info="info", test=TEST, tracks=TEST_TRACKS, queries=(3,)):
    add_images(root, [f"bbox_train/{name[:4]}/{name}" for name in TRAIN])
    add_images(root, [f"bbox_test/{name[:4]}/{name}" for name in test])
    folder = root / info
    folder.mkdir(parents=True)
    (folder / "train_name.txt").write_text("\n".join(TRAIN) + "\n")
    (folder / "test_name.txt").write_text("\r\n".join(test) + "\r\n")
    savemat(folder / "tracks_train_info.mat", {"track_train_info": np.array(TRAIN_TRACKS, float)})
    savemat(folder / "tracks_test_info.mat", {"track_test_info": np.array(tracks, np.int32)})
    savemat(folder / "query_IDX.mat", {"query_IDX": np.array([queries], np.uint16)})
    return folder


@pytest.mark.parametrize("info", ["info", "MARS-evaluation/info", "MARS-evaluation-master/info"])
def test_mars_rows_are_frames_of_tracks(tmp_path, info):
    """Tracks: two for training (1, 2), four of the test (3 to 6); the query is the third of those, with two frames."""
    write_mars(tmp_path, info)
    frame = read_mars(tmp_path)
    assert list(frame.columns) == ["image_path", "person_id", "camera_id", "split", "tracklet_id"]
    assert frame.split.tolist() == ["train"] * 3 + ["query"] * 2 + ["gallery"] * 5
    assert frame.person_id.tolist() == [1, 1, 1, 2, 2, -1, 0, 2, 2, 2]
    assert frame.camera_id.tolist() == [1, 1, 2, 1, 1, 1, 3, 1, 1, 2]
    assert frame.tracklet_id.tolist() == [1, 1, 2, 5, 5, 3, 4, 5, 5, 6]
    assert base_names(frame) == TRAIN + TEST[2:4] + TEST
    assert all(os.path.isfile(path) for path in frame.image_path)


@pytest.mark.parametrize(
    "name", ["train_name.txt", "test_name.txt", "tracks_train_info.mat", "tracks_test_info.mat", "query_IDX.mat"]
)
def test_mars_needs_each_file_of_info(tmp_path, name):
    folder = write_mars(tmp_path)
    if name.endswith(".mat"):
        (folder / name).write_bytes(b"no matrix")
        with pytest.raises(ReidError, match=f"{name}' is not a MATLAB file"):
            read_mars(tmp_path)
        savemat(folder / name, {"another": np.zeros(3)})
        with pytest.raises(ReidError, match=f"{name}' has no "):
            read_mars(tmp_path)
    (folder / name).unlink()
    with pytest.raises(ReidError, match=f"{name}' does not exist: expected a file of the folder info"):
        read_mars(tmp_path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"queries": (5,)}, "expected numbers of tracks, 1 to 4"),
        ({"queries": (0,)}, "expected numbers of tracks, 1 to 4"),
        ({"queries": (2,)}, "junk or distractors into the query split"),
        ({"tracks": [*TEST_TRACKS[:3], [5, 6, 2, 2]]}, "names frames 1 to 6.*has 5 lines"),
        ({"tracks": [*TEST_TRACKS[:3], [0, 5, 2, 2]]}, "names frames 0 to 5"),
        ({"tracks": [*TEST_TRACKS[:3], [4, 5, 2, 2]]}, "'0002C1T0001F002.jpg' is in a track of person 2, camera 2"),
        ({"tracks": [*TEST_TRACKS[:3], [5, 5, 3, 2]]}, "'0002C2T0002F001.jpg' is in a track of person 3"),
        ({"tracks": [row[:3] for row in TEST_TRACKS]}, r"shape \(4, 3\): expected \[tracks, 4\]"),
        ({"test": [*TEST[:4], "0001C2T0002F001.jpg"], "tracks": [*TEST_TRACKS[:3], [5, 5, 1, 2]]}, "in training and t"),
        ({"test": [*TEST[:4], "0002_c2.jpg"]}, "names '0002_c2.jpg': expected a name such as"),
    ],
)
def test_mars_files_that_do_not_fit_together_are_refused(tmp_path, options, text):
    write_mars(tmp_path, **options)
    with pytest.raises(ReidError, match=text):
        read_mars(tmp_path)


def test_mars_names_what_is_missing(tmp_path):
    with pytest.raises(ReidError, match="has no folder info: copy it there from https"):
        read_mars(tmp_path)
    write_mars(tmp_path)
    (tmp_path / "bbox_test" / "0002" / TEST[4]).unlink()
    with pytest.raises(ReidError, match=f"1 images that .* do not exist: .*{TEST[4]}"):
        read_mars(tmp_path)
    os.rename(tmp_path / "bbox_test", tmp_path / "bbox")
    with pytest.raises(ReidError, match="bbox_test' does not exist"):
        read_mars(tmp_path)


# --- VIPeR ---


def write_viper(root, people=8):
    add_images(root, [f"cam_a/{person:03}_45.bmp" for person in range(people)])
    add_images(root, [f"cam_b/{person:03}_{90 + person}.bmp" for person in range(people)])
    return root


@pytest.mark.parametrize("inside", ["", "VIPeR"])
def test_viper_halves_its_people(tmp_path, inside):
    write_viper(tmp_path / inside)
    frame = read_viper(tmp_path)
    assert frame.split.tolist() == ["train"] * 8 + ["query"] * 4 + ["gallery"] * 4
    train, query, gallery = (frame[frame.split == split] for split in ("train", "query", "gallery"))
    assert sorted(train.person_id) == sorted([*set(train.person_id)] * 2)
    assert set(query.person_id) == set(gallery.person_id) == set(range(1, 9)) - set(train.person_id)
    assert set(query.camera_id) == {1} and set(gallery.camera_id) == {2}
    for path, person, camera in zip(frame.image_path, frame.person_id, frame.camera_id):
        assert f"cam_{'ab'[camera - 1]}{os.sep}{person - 1:03}_" in path


def test_viper_splits_are_named_by_their_number(tmp_path):
    write_viper(tmp_path, people=20)
    splits = [tuple(read_viper(tmp_path, split=split).person_id) for split in (0, 0, 1, 2)]
    assert splits[0] == splits[1] and len(set(splits)) == 3


@pytest.mark.parametrize(
    ("more", "less", "text"),
    [
        ("cam_a/008_45.bmp", None, "1 people have an image in one of cam_a and cam_b .* the first is 008"),
        (None, "cam_b/003_93.bmp", "the first is 003"),
        ("cam_a/003_90.bmp", None, "a second image of its person"),
        ("cam_a/3.bmp", None, "not named like VIPeR's"),
    ],
)
def test_viper_wants_one_image_of_each_person_by_each_camera(tmp_path, more, less, text):
    write_viper(tmp_path)
    add_images(tmp_path, [more] if more else [])
    if less:
        (tmp_path / less).unlink()
    with pytest.raises(ReidError, match=text):
        read_viper(tmp_path)


def test_viper_without_cameras(tmp_path):
    with pytest.raises(ReidError, match="expected the folders cam_a and cam_b"):
        read_viper(tmp_path)
    for name in ("cam_a", "cam_b"):
        (tmp_path / name).mkdir()
    with pytest.raises(ReidError, match="cam_a' holds 0 images"):
        read_viper(tmp_path)


# --- Names ---


@pytest.mark.parametrize("name", ["dukemtmc", "DukeMTMC-reID"])
def test_a_withdrawn_dataset_is_said_to_be_withdrawn(name):
    with pytest.raises(ReidError, match="withdrawn by its authors"):
        read_dataset(name, "anywhere")


def test_there_is_a_reader_of_every_dataset():
    assert tuple(READERS) == choices.DATASETS


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ReidError, match="'prid' is unknown: expected one of market1501, .*, folder, synthetic"):
        read_dataset("prid", "anywhere")
