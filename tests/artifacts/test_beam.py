"""Embedding on Apache Beam's DirectRunner, with workers in processes of their own, against the local `embed`.

Beam wants other versions of some packages than `requirements.txt` pins: `.ci/run` runs this file in `.venv-beam`.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytest.importorskip("apache_beam")

from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.localfilesystem import LocalFileSystem

from keras_reid import embed
from keras_reid.artifacts import read_embeddings
from keras_reid.artifacts.beam.network import SavedModelHandler, size_in_batch
from keras_reid.artifacts.beam.runners import in_one_line, options_of
from keras_reid.artifacts.beam.storage import list_images
from keras_reid.data.images import FILE_ERRORS
from keras_reid.errors import ReidError
from keras_reid.files import remove
from tests.conftest import tiny_artifact

PROCESSES = ["--", "--direct_num_workers=2", "--direct_running_mode=multi_processing"]
ALL_FORMATS = ["a.jpg", "b.png", "c.bmp", "d.webp", "e.tif", "f.gif", "g.jpg"]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    return tiny_artifact(tmp_path_factory.mktemp("artifact"), metric="cosine")


@pytest.fixture
def photos(tmp_path) -> Path:
    """A list of images in all kinds of formats, one of them turned, two of them none, with gaps in its ids."""
    folder = tmp_path / "photos [1]"
    folder.mkdir()
    for number, name in enumerate(ALL_FORMATS):
        pixels = np.random.default_rng(number).integers(0, 256, (20 + number % 2, 12, 3), np.uint8)
        turned = Image.Exif()
        turned[0x112] = 6 if number == 0 else 1
        Image.fromarray(pixels).save(folder / name, **({"exif": turned} if name.endswith("jpg") else {}))
    (folder / "cut.jpg").write_bytes((folder / "a.jpg").read_bytes()[:300])
    names = [*ALL_FORMATS[:3], "cut.jpg", *ALL_FORMATS[3:], "gone.png"]
    ids = [7, None, *range(7)]
    frame = pd.DataFrame({"image_path": [f"{folder}/{name}" for name in names], "person_id": pd.array(ids, "Int64")})
    frame.to_csv(tmp_path / "list.csv", index=False)
    return tmp_path / "list.csv"


def test_workers_in_processes_write_the_rows_of_the_local_command(artifact, photos, tmp_path, capsys):
    flags = ["embed", f"--artifact={artifact}", f"--images={photos}", "--on_error=skip"]
    folder = tmp_path / "out [2]"
    on_runner = [*flags, f"--output={folder}", "--runner=DirectRunner", "--images_per_file=4", "--batch_size=2"]
    assert embed.main([*on_runner, *PROCESSES]) == 0
    out = capsys.readouterr().out.splitlines()[-1]
    assert out.startswith(
        f"7 embeddings of width 8 written to {folder}, comparable by cosine distance; 2 images cannot"
    )
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"embeddings-0000{number}-of-00003.parquet" for number in range(3)),
        "skipped.csv",
    ]
    skipped = pd.read_csv(folder / "skipped.csv")
    assert [Path(path).name for path in skipped.image_path] == ["cut.jpg", "gone.png"]
    assert "JPEG" in skipped.reason[0] and "No such file" in skipped.reason[1]

    assert embed.main([*flags, f"--output={tmp_path}/local.parquet"]) == 0
    local, read = read_embeddings(tmp_path / "local.parquet"), read_embeddings(folder)
    pd.testing.assert_frame_equal(read.frame, local.frame)
    np.testing.assert_allclose(read.embeddings, local.embeddings, rtol=0, atol=1e-6)
    assert np.ptp(local.embeddings, axis=0).max() > 1e-3  # or equal rows would say nothing
    assert (read.metric, read.network_fingerprint) == (local.metric, local.network_fingerprint)

    assert embed.main([*on_runner, *PROCESSES]) == 1
    assert "is there already: expected a new folder" in capsys.readouterr().err


def test_an_image_that_cannot_be_read_stops_the_pipeline_and_nothing_stays(artifact, photos, tmp_path, refused):
    flags = [f"--artifact={artifact}", f"--images={photos}", f"--output={tmp_path}/out", "--runner=DirectRunner"]
    error = refused(embed.main, ["embed", *flags])  # in this process
    assert "cut.jpg' cannot be read" in error or "gone.png' cannot be read" in error
    assert "--on_error=skip" in error and "while running" not in error
    assert not (tmp_path / "out").exists()


class Model:
    """Embeds a file as its length; fails, as TensorFlow, when one file of a batch is no image."""

    def __init__(self):
        self.batches = []

    def __call__(self, contents) -> np.ndarray:
        self.batches.append(len(contents))
        if any(not one.startswith(b"\x89PNG") for one in contents):
            raise FILE_ERRORS[0](None, None, "no image")
        return np.array([[len(one)] for one in contents], np.float32)


def test_one_broken_file_costs_its_batch_one_more_call_and_no_other_file(tmp_path):
    contents = []
    for width in (3, 30):
        Image.fromarray(np.zeros((2, width, 3), np.uint8)).save(tmp_path / "a.png")
        contents.append((tmp_path / "a.png").read_bytes())
    model = Model()
    first, reason, last = SavedModelHandler("", batch_size=8).run_inference([contents[0], b"hello", contents[1]], model)
    assert model.batches == [3, 2]
    assert (first[0], last[0]) == (len(contents[0]), len(contents[1]))
    assert "Unknown image file format" in reason and "\n" not in reason and "{{" not in reason


@pytest.mark.parametrize(("size", "counts"), [(0, 1), (2**20, 1), (2**20 + 1, 2), (5 * 2**20, 5), (99 * 2**20, 8)])
def test_a_file_counts_by_its_mebibytes_and_never_as_more_than_a_batch(size, counts):
    assert size_in_batch(("key", bytes(size)), batch_size=8) == counts


@pytest.mark.parametrize(
    ("runner", "arguments", "text"),
    [
        ("DirectRunner", ["photo.jpg"], "'photo.jpg' is no option"),
        ("DirectRunner", ["--no_such=3"], "has no option 'no_such'"),
        ("DirectRunner", ["--direct_num_workers=three"], "invalid int value: 'three'"),
        ("FlinkRunner", [], "needs the address of a cluster, as in -- --flink_master=HOST:8081"),
        ("FlinkRunner", ["--flink_master=127.0.0.1:1"], "nothing answers at '127.0.0.1:1'"),
        ("SparkRunner", ["--job_endpoint=127.0.0.1:1"], "nothing answers at '127.0.0.1:1'"),
    ],
)
def test_wrong_options_and_a_runner_that_is_not_there_are_said_in_a_line(runner, arguments, text):
    with pytest.raises(ReidError, match=text):
        options_of(runner, arguments)


def test_the_cause_is_found_in_the_traceback_of_a_worker():
    ours = "Traceback ...\nkeras_reid.errors.ReidError: 'a.jpg' is bad. on_error=skip. [while running 'check']\n\nmore"
    assert in_one_line(RuntimeError(ours)) == "'a.jpg' is bad. on_error=skip."
    theirs = "Traceback\n  File x\nValueError: no such thing\n"
    assert in_one_line(RuntimeError(theirs)) == "the pipeline failed (ValueError: no such thing)."


# --- Buckets ---


class Bucket(LocalFileSystem):
    """A local folder that Beam finds under bucket://, with names instead of folders inside, as buckets have them."""

    root = ""

    @classmethod
    def scheme(cls):
        return "bucket"

    def local(self, path: str) -> str:
        return path.replace("bucket://", f"{self.root}/")

    def has_dirs(self):
        return False

    def create(self, path, *options, **named):
        return super().create(self.local(path), *options, **named)

    def open(self, path, *options, **named):
        return super().open(self.local(path), *options, **named)

    def exists(self, path):
        return Path(self.local(path)).is_file()

    def metadata(self, path):
        return FileMetadata(path, 1, 0)

    def rename(self, sources, destinations):
        super().rename(list(map(self.local, sources)), list(map(self.local, destinations)))

    def delete(self, paths):
        for path in paths:
            remove(Path(self.local(path)))

    def _list(self, prefix):
        for path in Path(self.root).rglob("*"):
            name = f"bucket://{path.relative_to(self.root)}"
            if path.is_file() and name.startswith(prefix):
                yield FileMetadata(name, 1, 0)


@pytest.fixture
def bucket(tmp_path, monkeypatch) -> Path:
    """The folder behind bucket://, with images in folders."""
    monkeypatch.setattr(Bucket, "root", str(tmp_path / "bucket"))
    for name in ("a.jpg", "b.png", "deep/c.jpg", ".hidden/d.jpg", "notes.txt"):
        path = tmp_path / "bucket" / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 20), (len(name), 99, 0)).save(path) if path.suffix != ".txt" else path.write_text("")
    return tmp_path / "bucket"


def test_images_of_a_bucket_are_found_as_in_folders(bucket):
    def found(source: str) -> list[str]:
        return [path.removeprefix("bucket://photos/") for path in list_images(f"bucket://{source}").image_path]

    assert found("photos") == found("photos/") == ["a.jpg", "b.png", "deep/c.jpg"]
    assert found("photos/**/*.jpg") == ["a.jpg", "deep/c.jpg"]
    assert found("photos/*") == ["a.jpg", "b.png"]
    assert found("photos/b.png") == ["b.png"]
    written = bucket / "photos" / "list.csv"
    written.write_text("image_path,person_id\nb.png,7\nbucket://photos/a.jpg,8\n/local/c.jpg,9\n")
    frame = list_images("bucket://photos/list.csv")
    assert frame.image_path.tolist() == ["bucket://photos/b.png", "bucket://photos/a.jpg", "/local/c.jpg"]
    assert frame.person_id.tolist() == [7, 8, 9]
    with pytest.raises(ReidError, match="none of the 1 files there .* ends in .jpg"):
        list_images("bucket://photos/*.txt")
    written.write_text("path\nb.png\n")
    with pytest.raises(ReidError, match="^'bucket://photos/list.csv' has no column image_path"):
        list_images("bucket://photos/list.csv")


def test_a_bucket_is_embedded_into_a_bucket(bucket, artifact, tmp_path):
    flags = ["embed", f"--artifact={artifact}", "--on_error=skip"]
    on_runner = [*flags, "--images=bucket://photos", "--output=bucket://out", "--runner=DirectRunner"]
    assert embed.main(on_runner) == 0
    assert [path.name for path in (bucket / "out").iterdir()] == ["embeddings-00000-of-00001.parquet"]
    assert embed.main([*flags, f"--images={bucket}/photos", f"--output={tmp_path}/local.npz"]) == 0
    read = read_embeddings(bucket / "out")
    assert [path.replace("bucket:/", str(bucket)) for path in read.frame.image_path] == (
        read_embeddings(tmp_path / "local.npz").frame.image_path.tolist()
    )
    np.testing.assert_allclose(read.embeddings, read_embeddings(tmp_path / "local.npz").embeddings, rtol=0, atol=1e-6)
    assert embed.main(on_runner) == 1  # it is there already


def test_a_scheme_that_beam_does_not_open_is_refused():
    with pytest.raises(ReidError, match="Beam cannot open 'nowhere://a'"):
        list_images("nowhere://a")
