"""The drawn dataset: its layout, its determinism, and that clothes rather than cameras tell its people apart."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from keras_reid.data.synthetic.dataset import write_synthetic
from keras_reid.errors import ReidError

FOLDERS = ("bounding_box_train", "bounding_box_test", "query")
NAME = re.compile(r"(-1|\d{4})_c([1-9])s[1-9]_\d{6}_\d{2}\.jpg")
SIZES = {"identities": 7, "cameras": 3, "images_per_camera": 2, "seed": 5}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic") / "small"
    write_synthetic(root, **SIZES)
    return root


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """Thirty people under four cameras: enough to ask what tells them apart."""
    root = tmp_path_factory.mktemp("synthetic") / "larger"
    write_synthetic(root, identities=30, cameras=4, images_per_camera=2, seed=3)
    return root


def read_names(root, folder):
    """(person, camera) of every file of a folder, in the order of the file names."""
    matches = [NAME.fullmatch(path.name) for path in sorted((root / folder).iterdir())]
    return [(int(match[1]), int(match[2])) for match in matches]


def digests(root):
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*.jpg")}


def test_layout_and_counts(small):
    """7 identities: 4 train (4 * 3 * 2 = 24), 3 test: 3 * 3 queries, 3 * 3 gallery, and 3 distractors, 3 junk."""
    assert sorted(path.name for path in small.iterdir()) == sorted(FOLDERS)
    assert Counter(read_names(small, "bounding_box_train")) == {(i, c): 2 for i in (1, 2, 3, 4) for c in (1, 2, 3)}
    assert Counter(read_names(small, "query")) == {(i, c): 1 for i in (5, 6, 7) for c in (1, 2, 3)}
    assert Counter(read_names(small, "bounding_box_test")) == {(i, c): 1 for i in (-1, 0, 5, 6, 7) for c in (1, 2, 3)}


def test_file_names_are_unique_over_all_folders(small):
    names = [path.name for path in small.rglob("*.jpg")]
    assert len(set(names)) == len(names) == 24 + 9 + 15


def test_pictures_are_rgb_jpegs_128_high_and_64_wide(small):
    for path in small.rglob("*.jpg"):
        with Image.open(path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (64, 128))


def test_no_two_pictures_are_alike(small):
    assert len(set(digests(small).values())) == 24 + 9 + 15


def test_every_query_has_a_match_under_another_camera(small):
    gallery = read_names(small, "bounding_box_test")
    for person, camera in read_names(small, "query"):
        assert {c for p, c in gallery if p == person} - {camera}


def test_same_seed_gives_the_same_bytes_in_another_process(small, tmp_path):
    """Another process has other hash seeds and other cached cameras."""
    sizes = ", ".join(f"{name}={value}" for name, value in SIZES.items())
    module = "keras_reid.data.synthetic.dataset"
    code = f"from {module} import write_synthetic as w; w({str(tmp_path / 'again')!r}, {sizes})"
    code += "; import sys; assert 'tensorflow' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert digests(tmp_path / "again") == digests(small)


def test_another_seed_gives_other_pictures(small, tmp_path):
    write_synthetic(tmp_path / "other", **{**SIZES, "seed": 6})
    assert not set(digests(tmp_path / "other").values()) & set(digests(small).values())


def test_a_person_looks_the_same_however_many_there_are(small, tmp_path):
    """10 identities train on 1..5 and three cameras of five are the same ones: the pictures of 1..4 must not move."""
    write_synthetic(tmp_path / "more", **{**SIZES, "identities": 10, "cameras": 5, "images_per_camera": 3})
    before = {name: digest for name, digest in digests(small).items() if name.startswith("bounding_box_train")}
    after = digests(tmp_path / "more")
    assert {name: after.get(name) for name in before} == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"identities": 3}, "`identities` must be a whole number from 4"),
        ({"identities": 10_000}, "to 9999"),
        ({"cameras": 1}, "`cameras` must be a whole number from 2 to 9"),
        ({"cameras": 10}, "got 10"),
        ({"images_per_camera": 1}, "the first is the query"),
        ({"images_per_camera": 2.0}, "got 2.0"),
        ({"seed": -1}, "`seed`"),
    ],
)
def test_refuses_numbers_out_of_range(tmp_path, change, words):
    with pytest.raises(ReidError, match=re.escape(words)):
        write_synthetic(tmp_path / "refused", **{**SIZES, **change})
    assert list(tmp_path.iterdir()) == []


def test_never_overwrites(small):
    before = digests(small)
    with pytest.raises(ReidError, match="is not empty"):
        write_synthetic(small, **SIZES)
    assert digests(small) == before


def test_refuses_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ReidError, match="is not empty"):
        write_synthetic(tmp_path / "file", **SIZES)
    with pytest.raises(ReidError, match="could not be written"):
        write_synthetic(tmp_path / "file" / "below", **SIZES)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    write_synthetic(tmp_path / "empty", identities=4, cameras=2, images_per_camera=2, seed=0)
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == sorted(FOLDERS)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_synthetic(tmp_path / "interrupted", **SIZES)
    assert list(tmp_path.iterdir()) == []


def torso_colors(root):
    """Mean color of the chest of each training picture [N, 3], its person [N] and its camera [N]."""
    paths = sorted((root / "bounding_box_train").iterdir())
    chests = [np.asarray(Image.open(path), np.float64)[30:60, 20:44].mean((0, 1)) for path in paths]
    people, cameras = np.array(read_names(root, "bounding_box_train")).T
    return np.array(chests), people, cameras


def test_clothes_tell_people_apart_across_cameras(larger):
    """Chance is 1 in 15: of the 90 pictures of the other three cameras, 6 show the same person."""
    colors, people, cameras = torso_colors(larger)
    for camera in np.unique(cameras):
        colors[cameras == camera] -= colors[cameras == camera].mean(0)
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=-1)
    distances[cameras[:, None] == cameras[None]] = np.inf
    assert np.mean(people[distances.argmin(1)] == people) > 0.6


def test_cameras_see_the_same_clothes_in_other_colors(larger):
    """All cameras see the same 15 people, so the mean chest differs by what the cameras do alone."""
    colors, _, cameras = torso_colors(larger)
    means = np.array([colors[cameras == camera].mean(0) for camera in np.unique(cameras)])
    distances = np.linalg.norm(means[:, None] - means[None], axis=-1)
    assert distances[np.triu_indices(4, 1)].mean() > 8
