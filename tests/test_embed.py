"""`python -m keras_reid.embed`: which images a folder, a pattern or a CSV stands for, and what is written of them."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from keras_reid import embed, options
from keras_reid.artifacts import describe_embedder, open_artifact, read_embeddings
from keras_reid.artifacts.views import VIEWS
from keras_reid.data.image_list import list_images
from keras_reid.errors import ReidError
from keras_reid.models import save_keras
from tests.conftest import tiny_embedder


@pytest.fixture
def refused(refused):
    """Runs this command, which must be refused; returns its one line."""
    return lambda **flags: refused(embed.main, ["embed", *(f"--{name}={value}" for name, value in flags.items())])


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    embedder = tiny_embedder()
    metadata = describe_embedder(embedder, metric="cosine")
    return save_keras(embedder, tmp_path_factory.mktemp("artifact") / "tiny.keras", metadata=metadata)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Images of several sizes and suffixes in folders, beside files that are none."""
    folder = tmp_path / "photos [1]"  # brackets mean something in a pattern
    for number, name in enumerate(["b.JPG", "a.png", "deep/er/c.jpeg", "deep/d.bmp"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20 + number % 2, 12, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    for name in ["notes.txt", "._b.JPG", ".hidden/e.jpg", "photo.jpg/inside.txt"]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no image")
    return folder


def relative(frame: pd.DataFrame, folder: Path) -> list:
    return [os.path.relpath(path, folder) for path in frame.image_path]


def pixels_of(paths) -> list:
    """Read by Pillow, which decodes PNG and BMP exactly and JPEG as the package does."""
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def test_a_folder_is_all_its_images_sorted_without_hidden_ones(photos):
    assert relative(list_images(photos), photos) == ["a.png", "b.JPG", "deep/d.bmp", "deep/er/c.jpeg"]
    assert relative(list_images(f"{photos}/"), photos) == ["a.png", "b.JPG", "deep/d.bmp", "deep/er/c.jpeg"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a.png", "b.JPG"]),
        ("**/*", ["a.png", "b.JPG", "deep/d.bmp", "deep/er/c.jpeg"]),
        ("**/*.jpeg", ["deep/er/c.jpeg"]),
        ("deep/*/c.*", ["deep/er/c.jpeg"]),
        ("a.png", ["a.png"]),
    ],
)
def test_a_pattern_is_the_images_that_match(photos, monkeypatch, pattern, expected):
    monkeypatch.chdir(photos)
    assert list(list_images(pattern).image_path) == expected


def test_a_csv_keeps_its_order_and_columns_and_has_paths_from_its_own_folder(photos, tmp_path):
    absolute = tmp_path / "photos [1]" / "b.JPG"
    lines = ["person_id,image_path,camera_id,name", f"0002,{absolute},,Zoë", '0003,photos [1]/a.png,4,"a, b"']
    (tmp_path / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    frame = list_images(tmp_path / "list.csv")
    assert list(frame) == ["person_id", "image_path", "camera_id", "name"]
    assert list(frame.image_path) == [str(absolute), str(photos / "a.png")]
    assert frame.person_id.tolist() == ["0002", "0003"] and frame.name.tolist() == ["Zoë", "a, b"]
    assert frame.camera_id.isna().tolist() == [True, False] and frame.camera_id[1] == 4


def test_numbers_of_a_csv_are_numbers_where_that_loses_nothing(tmp_path):
    text = "image_path,whole,negative,long,zeros,float,mixed,na\n"
    text += "a.jpg,1,-1,12345678901234567890,01,0.5,1,NA\nb.jpg,20,0,1,2,1e-3,x,nan\n"
    (tmp_path / "list.csv").write_text(text)
    frame = list_images(tmp_path / "list.csv").drop(columns="image_path")
    assert frame.whole.tolist() == [1, 20] and frame.negative.tolist() == [-1, 0] and frame.whole.dtype == np.int64
    assert frame.float.tolist() == [0.5, 0.001]
    assert frame.zeros.tolist() == ["01", "2"] and frame.mixed.tolist() == ["1", "x"]
    assert frame.na.tolist() == ["NA", "nan"]
    assert frame.long.tolist() == ["12345678901234567890", "1"]


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_embeddings_are_those_of_each_image_in_order(artifact, photos, tmp_path, capsys, suffix):
    output = tmp_path / f"out{suffix}"
    arguments = ["embed", f"--artifact={artifact}", f"--images={photos}", f"--output={output}", "--batch_size=2"]
    assert embed.main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.out == f"4 embeddings of width 8 written to {output}, comparable by cosine distance\n"
    read = read_embeddings(output)
    assert relative(read.frame, photos) == ["a.png", "b.JPG", "deep/d.bmp", "deep/er/c.jpeg"]
    opened = open_artifact(artifact)
    expected = [opened.embed(pixels[None])[0] for pixels in pixels_of(read.frame.image_path)]
    np.testing.assert_allclose(read.embeddings, expected, rtol=1e-4, atol=1e-5)
    assert read.metric == "cosine"


def test_views_are_passed_on(artifact, photos, tmp_path):
    output = tmp_path / "out.npz"
    image = shutil.copy(photos / "a.png", tmp_path)
    arguments = ["embed", f"--artifact={artifact}", f"--images={image}", f"--output={output}", "--views=flip"]
    assert embed.main(arguments) == 0
    (pixels,) = pixels_of([image])
    both = open_artifact(artifact).embed(np.stack([pixels, pixels[:, ::-1]])).astype(float)
    mean = np.mean(both / np.linalg.norm(both, axis=1, keepdims=True), axis=0)
    np.testing.assert_allclose(read_embeddings(output).embeddings[0], mean / np.linalg.norm(mean), rtol=1e-4, atol=1e-5)


def test_a_trained_run_embeds_a_csv_with_ids_to_parquet(finished_run, tiny_catalog, tmp_path):
    pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    query = tiny_catalog[tiny_catalog.split == "query"]
    query.to_csv(tmp_path / "query.csv", index=False)
    output = tmp_path / "query.parquet"
    arguments = [f"--artifact={finished_run}", f"--images={tmp_path / 'query.csv'}", f"--output={output}"]
    assert embed.main(["embed", *arguments]) == 0
    read = read_embeddings(output)
    assert read.embeddings.shape == (len(query), 128) and read.metric == "euclidean"
    for name in query:
        assert read.frame[name].tolist() == query[name].tolist()


def test_the_choices_of_views_are_those_of_the_library():
    assert options.VIEWS == VIEWS


def test_help_lists_every_flag(capsys):
    assert embed.main(["embed", "--help"]) == 0
    output = capsys.readouterr().out
    assert "python -m keras_reid.embed" in output
    assert all(f"--{name} [" in output for name in options.embed_flags())


def test_nothing_is_written_or_read_when_a_flag_is_wrong(artifact, photos, tmp_path, refused):
    flags = {"artifact": artifact, "images": photos, "output": tmp_path / "out.npz"}
    for name in flags:
        assert f"--{name} is not set" in refused(**{**flags, name: ""})
    assert "--output=" in refused(**{**flags, "output": tmp_path})
    assert "--output=" in refused(**{**flags, "output": tmp_path / "missing" / "out.npz"})
    assert "ends in .parquet, .npz, .csv" in refused(**{**flags, "output": tmp_path / "out.pkl"})
    assert "--views" in refused(**flags, views="ten")
    assert "--batch_size" in refused(**flags, batch_size=0)
    assert "no artifact at" in refused(**{**flags, "artifact": tmp_path / "nothing"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos [1]"]


def test_no_image_is_said_before_tensorflow_has_work(tmp_path, refused):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    flags = {"artifact": "not looked at", "output": tmp_path / "out.npz"}
    for source in ("empty", "nothing", "nothing/**/*.jpg", "nothing.csv"):
        assert "there is none that ends in .jpg, .jpeg, .png, .bmp" in refused(**flags, images=tmp_path / source)
    assert "none of the 1 files there ends in .jpg" in refused(**flags, images=tmp_path / "texts")


def test_a_broken_image_is_named_and_nothing_is_written(artifact, photos, tmp_path, refused):
    (photos / "deep" / "broken.jpg").write_bytes((photos / "b.JPG").read_bytes()[:300])
    error = refused(artifact=artifact, images=photos, output=tmp_path / "out.npz")
    assert "1 of 5 images cannot be read" in error and "deep/broken.jpg" in error
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"path,person_id\na.jpg,1\n", "has no column image_path: its columns are 'path', 'person_id'"),
        (b"image_path;person_id\na.jpg;1\n", "its columns are 'image_path;person_id'"),
        (b"image_path,person_id\na.jpg,1\n,2\n", "has no image_path in 1 rows, the first is row 2"),
        (b"image_path\n", "names no image"),
        (b"", "cannot be read as a CSV"),
        (b"image_path\n\xff\xfe\n", "cannot be read as a CSV"),
        (b"image_path,person_id\na.jpg,1,2\n", "cannot be read as a CSV"),
        (b"image_path,person_id\na.jpg,1\nb.jpg,1,2\n", "cannot be read as a CSV"),
        (b"image_path,metric\na.jpg,1\n", "a column is named 'metric'"),
        (b"image_path\nmissing.jpg\n", "missing.jpg"),
    ],
)
def test_a_wrong_csv_is_named(artifact, tmp_path, refused, content, text):
    (tmp_path / "list.csv").write_bytes(content)
    assert text in refused(artifact=artifact, images=tmp_path / "list.csv", output=tmp_path / "out.npz")


def test_the_list_of_the_images_is_not_written_over(artifact, photos, tmp_path, refused):
    (tmp_path / "list.csv").write_text("image_path\nphotos [1]/a.png\n")
    error = refused(artifact=artifact, images=tmp_path / "list.csv", output=tmp_path / "." / "list.csv")
    assert "is the list of the images itself" in error
    assert (tmp_path / "list.csv").read_text() == "image_path\nphotos [1]/a.png\n"


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes on POSIX alone")
def test_a_file_name_that_is_not_in_utf_8_is_refused(tmp_path):
    try:
        Path(tmp_path, os.fsdecode(b"\xff.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this disk takes no such name")
    with pytest.raises(ReidError, match="not in UTF-8"):
        list_images(tmp_path)
