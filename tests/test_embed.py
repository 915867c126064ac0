"""`python -m keras_reid.embed`: which images a folder, a pattern or a CSV stands for, and what is written of them."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from keras_reid import embed, options
from keras_reid.artifacts import open_artifact, read_embeddings
from keras_reid.data.image_list import list_images
from keras_reid.errors import ReidError
from tests.conftest import tiny_artifact


@pytest.fixture
def refused(refused):
    """Runs this command, which must be refused; returns its one line."""
    return lambda **flags: refused(embed.main, ["embed", *(f"--{name}={value}" for name, value in flags.items())])


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    return tiny_artifact(tmp_path_factory.mktemp("artifact"), metric="cosine")


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


def test_augmentation_is_passed_on(artifact, photos, tmp_path):
    output = tmp_path / "out.npz"
    image = shutil.copy(photos / "a.png", tmp_path)
    arguments = [f"--artifact={artifact}", f"--images={image}", f"--output={output}"]
    assert embed.main(["embed", *arguments, "--test_time_augmentation=flip"]) == 0
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
    assert "--test_time_augmentation" in refused(**flags, test_time_augmentation="ten")
    assert "--batch_size" in refused(**flags, batch_size=0)
    assert "--on_error" in refused(**flags, on_error="ignore")
    assert "no artifact at" in refused(**{**flags, "artifact": tmp_path / "nothing"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos [1]"]


def test_a_runner_without_beam_and_its_options_without_a_runner_are_refused(artifact, photos, refused, monkeypatch):
    flags = {"artifact": artifact, "images": photos, "output": "out"}
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    assert "pip install 'keras_reid[beam]'" in refused(**flags, runner="DirectRunner")
    assert "<DirectRunner|FlinkRunner|SparkRunner|DataflowRunner>" in refused(**flags, runner="Spark")
    flags = {**flags, "runner": "DirectRunner", "test_time_augmentation": "flip"}
    assert "--test_time_augmentation=flip does not go with --runner" in refused(**flags)


def test_no_image_is_said_before_tensorflow_has_work(tmp_path, refused):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    flags = {"artifact": "not looked at", "output": tmp_path / "out.npz"}
    for source in ("empty", "nothing", "nothing/**/*.jpg", "nothing.csv"):
        assert "there is none that ends in .jpg, .jpeg, .png, .bmp" in refused(**flags, images=tmp_path / source)
    assert "none of the 1 files there (.txt 1) ends in .jpg" in refused(**flags, images=tmp_path / "texts")


def test_a_broken_image_is_named_and_nothing_is_written(artifact, photos, tmp_path, refused):
    (photos / "deep" / "broken.jpg").write_bytes((photos / "b.JPG").read_bytes()[:300])
    error = refused(artifact=artifact, images=photos, output=tmp_path / "out.npz")
    assert "1 of 5 images cannot be read" in error and "deep/broken.jpg" in error
    assert not (tmp_path / "out.npz").exists()


# --- Images that are left out, and going on ---


def write_noise(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 12, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder


def test_skipped_images_are_named_counted_and_listed(artifact, tmp_path, capsys):
    """23 of 30 rows name what is no image: 20 on the screen, all in the list; the ids of the others stay theirs."""
    folder, output = write_noise(tmp_path / "photos", 7), tmp_path / "out.csv"
    names = [f"photos/{number:02}.png" for number in range(30)]
    (folder / "07.png").mkdir()
    (folder / "08.png").write_text("hello")
    shuffled = names[10:] + names[:10]
    pd.DataFrame({"image_path": shuffled, "person_id": range(30)}).to_csv(tmp_path / "list.csv", index=False)
    arguments = ["embed", f"--artifact={artifact}", f"--output={output}", "--on_error=skip"]
    assert embed.main([*arguments, f"--images={tmp_path / 'list.csv'}"]) == 0
    skipped = [str(tmp_path / name) for name in [*names[10:], *names[7:10]]]
    first, *named, more, last = capsys.readouterr().out.splitlines()
    assert first.startswith("23 of 30 images cannot be read")
    assert named == [f"  {path}" for path in skipped[:20]]
    assert more == f"  and 3 more: {output}.skipped.txt lists them all"
    assert last.startswith(f"7 embeddings of width 8 written to {output}")
    assert (tmp_path / "out.csv.skipped.txt").read_text() == "".join(f"{path}\n" for path in skipped)
    read = read_embeddings(output)
    assert read.frame.person_id.tolist() == list(range(20, 27))
    assert relative(read.frame, tmp_path) == names[:7]
    assert not (tmp_path / "out.csv.parts").exists()

    assert embed.main([*arguments, f"--images={folder}/0[0-6].png"]) == 0
    assert not (tmp_path / "out.csv.skipped.txt").exists()  # it told of another job
    np.testing.assert_array_equal(read_embeddings(output).embeddings, read.embeddings)


def test_no_image_that_can_be_read_is_refused_and_nothing_is_written(artifact, tmp_path, refused):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("hello")
    flags = {"artifact": artifact, "images": tmp_path / "photos", "output": tmp_path / "out.npz", "on_error": "skip"}
    assert "none of the 1 images can be read" in refused(**flags)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_folders_in_the_way_are_refused_and_stay(artifact, photos, tmp_path, refused):
    flags = {"artifact": artifact, "images": photos, "output": tmp_path / "out.npz"}
    (tmp_path / "out.npz.skipped.txt").mkdir()
    assert "out.npz.skipped.txt is a folder" in refused(**flags)
    (tmp_path / "out.npz.skipped.txt").rmdir()
    (tmp_path / "out.npz.parts").mkdir()
    (tmp_path / "out.npz.parts" / "thesis.txt").write_text("precious")
    assert "is a folder with 'thesis.txt'" in refused(**flags)
    assert (tmp_path / "out.npz.parts" / "thesis.txt").read_text() == "precious"


# Sends itself a signal in the midst of its eighth batch, as `python -m keras_reid.embed` otherwise.
_SIGNALLED = """
import os, runpy, sys
from keras_reid.artifacts import artifact, embedding_job
embedding_job._CHUNK, count, embed = 6, 0, artifact.Artifact.embed
def embed_or_stop(self, *arguments):
    global count
    count += 1
    if count == 8:
        os.kill(os.getpid(), int(os.environ["SIGNAL"]))
    return embed(self, *arguments)
artifact.Artifact.embed = embed_or_stop
runpy.run_module("keras_reid.embed", run_name="__main__", alter_sys=True)
"""


@pytest.mark.once
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_the_same_command_goes_on_where_it_was_interrupted(artifact, tmp_path, capsys, monkeypatch, number, exit_code):
    """18 images and one of which nothing can be read, in chunks of 6: two are finished after seven batches of 2."""
    folder, output = write_noise(tmp_path / "photos", 18), tmp_path / "out.npz"
    (folder / "03.jpg").write_text("hello")
    arguments = [f"--artifact={artifact}", f"--images={folder}", "--batch_size=2", "--on_error=skip"]
    environment = {**os.environ, "SIGNAL": str(int(number)), "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", _SIGNALLED, *arguments, f"--output={output}"]
    stopped = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert stopped.returncode == exit_code, stopped.stderr
    if number == signal.SIGINT:
        told = stopped.stderr.splitlines()[-2:]
        assert told == ["12 of 19 images are done: the same command goes on there.", "interrupted."]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.npz.parts", "photos"]

    monkeypatch.setattr("keras_reid.artifacts.embedding_job._CHUNK", 6)
    assert embed.main(["embed", *arguments, f"--output={output}"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("going on after 12 of 19 images\n1 of 19 images cannot be read")
    assert f"  {folder / '03.jpg'}\n" in printed
    assert embed.main(["embed", *arguments, f"--output={tmp_path / 'at_once.npz'}"]) == 0
    assert output.read_bytes() == (tmp_path / "at_once.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["photos"]


# --- Lists and names ---


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"path,person_id\na.jpg,1\n", "has no column image_path: its columns are 'path', 'person_id'"),
        (b"image_path|person_id\na.jpg|1\n", "its columns are 'image_path|person_id'"),
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
