"""The doctor as a command: each fault planted in a clean set is found and named, and nothing else is."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from keras_reid import doctor, options, train
from keras_reid.data import read_market1501
from keras_reid.data.readers.market1501 import FOLDERS as MARKET1501_FOLDERS
from tests.conftest import train_arguments


@pytest.fixture
def data_dir(synthetic_dir, tmp_path) -> Path:
    """A dataset that a test may damage: people 1 to 6 train, 7 to 12 are for the test, 3 images by camera."""
    return Path(shutil.copytree(synthetic_dir, tmp_path / "data"))


def images(data_dir: Path, split: str, person: str, camera: int = 1) -> list:
    return sorted((data_dir / MARKET1501_FOLDERS[split]).glob(f"{person}_c{camera}*.jpg"))


def examine(data_dir: Path, *flags: str) -> tuple:
    """Returns the exit code and what --json holds."""
    file = data_dir.parent / "report.json"
    code = doctor.main(["doctor", "--dataset=synthetic", f"--data_dir={data_dir}", f"--json={file}", *flags])
    report = json.loads(file.read_text())
    assert report["exit_code"] == code
    return code, report


def saved_again(path: Path) -> bytes:
    """The picture at three quarters of its size, brighter, at a low quality."""
    image = ImageEnhance.Brightness(Image.open(path)).enhance(1.1)
    buffer = io.BytesIO()
    image.resize((48, 96)).save(buffer, "JPEG", quality=40)
    return buffer.getvalue()


def change(path: Path, convert) -> list:
    convert(Image.open(path).convert("RGB")).save(path, "JPEG", quality=95)
    return [str(path)]


def write(path: Path, contents: bytes) -> list:
    path.write_bytes(contents)
    return [str(path)]


def dangle(path: Path) -> list:
    path.unlink()
    path.symlink_to(path.with_name("gone.jpg"))
    return [str(path)]


def png_called_jpg(path: Path) -> list:
    Image.open(path).save(path, "PNG")
    return [str(path)]


FILE_FAULTS = {
    "empty": (3, lambda path: write(path, b"")),
    "damaged": (3, lambda path: write(path, path.read_bytes()[:-20])),
    "not_an_image": (3, lambda path: write(path, b"<!DOCTYPE html><p>404</p>")),
    "missing": (3, dangle),
    "tiny": (2, lambda path: change(path, lambda image: image.resize((15, 30)))),
    "huge": (2, lambda path: change(path, lambda image: image.resize((1500, 3000)))),
    "odd_aspect": (2, lambda path: change(path, lambda image: image.resize((128, 64)))),
    "blank": (2, lambda path: change(path, lambda image: Image.new("RGB", image.size, (90, 40, 40)))),
    "gray": (2, lambda path: change(path, lambda image: image.convert("L"))),
    "wrong_suffix": (0, png_called_jpg),
}


@pytest.mark.parametrize("kind", FILE_FAULTS)
def test_a_bad_file_is_named_and_nothing_else(data_dir, capsys, kind):
    expected_code, plant = FILE_FAULTS[kind]
    path = images(data_dir, "train", "0002")[1]
    names = plant(path)
    code, report = examine(data_dir)
    assert [(one["kind"], one["names"], one["count"]) for one in report["findings"]] == [(kind, names, 1)]
    assert code == expected_code
    assert f"\n   bounding_box_train/{path.name}\n   -> " in capsys.readouterr().out


def turned_by_exif(path: Path) -> list:
    """Stored on its side, as a phone held upright does: its own picture, that nobody sees lying."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, quality=95, exif=exif)
    return [str(path)]


def test_photos_that_exif_turns_are_counted_and_are_not_odd(data_dir):
    names = turned_by_exif(images(data_dir, "train", "0002")[1])
    code, report = examine(data_dir)
    assert [(one["kind"], one["names"]) for one in report["findings"]] == [("turned", names)] and code == 0


def test_what_is_left_out_is_counted(data_dir, capsys):
    for name in (
        "query/1.heic",
        "query/2.heic",
        "bounding_box_train/a.jpg_large",
        "query/a.txt",
        "query/Thumbs.db",
        "query/.hidden",
    ):
        (data_dir / name).write_text("x")
    code, report = examine(data_dir)
    assert [(one["kind"], one["count"]) for one in report["findings"]] == [("left_out", 3)] and code == 0
    assert "(.heic 2, .jpg_large 1)" in capsys.readouterr().out


def test_formats_that_only_pillow_reads_are_images(data_dir):
    path = images(data_dir, "train", "0002")[1]
    for image in data_dir.rglob("0002_c1*.jpg"):
        kind = {"WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp"}[["WEBP", "TIFF", "BMP"][int(image.stem[-1]) % 3]]
        Image.open(image).save(image.with_suffix(kind))
        image.unlink()
    code, report = examine(data_dir)
    assert not path.exists() and (code, report["findings"]) == (0, [])


# Fault -> the picture, and the split, person and camera as which it is there once more.
COPIES = {
    "several_people": (("train", "0001", 1), ("train", "0002", 1)),
    "train_and_test": (("train", "0001", 1), ("gallery", "0000", 1)),
    "query_and_gallery": (("query", "0008", 1), ("gallery", "0008", 2)),
}


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("near", [False, True])
def test_a_copy_is_named_with_its_original(data_dir, kind, near):
    source, (split, person, camera) = COPIES[kind]
    original = images(data_dir, *source)[0]
    copy = data_dir / MARKET1501_FOLDERS[split] / f"{person}_c{camera}s1_099999_01.jpg"
    copy.write_bytes(saved_again(original) if near else original.read_bytes())
    code, report = examine(data_dir)
    (finding,) = report["findings"]
    assert (finding["kind"], code) == (f"{'near_' * near}copies_{kind}", 2)
    assert finding["names"] == [[str(original), str(copy)]]


def test_a_copy_that_does_no_harm_is_a_note(data_dir):
    original = images(data_dir, "gallery", "0008")[0]
    shutil.copy(original, original.with_name("0008_c1s1_099999_01.jpg"))
    code, report = examine(data_dir)
    assert ([one["kind"] for one in report["findings"]], code) == (["copies_within_split"], 0)


def test_a_query_in_the_gallery_counts_as_the_evaluation_would_count_it(data_dir):
    """Under its own camera it is ignored, unless nothing is ignored; --ignore=same_file does not know copies."""
    original = images(data_dir, "query", "0008")[0]
    shutil.copy(original, data_dir / "bounding_box_test" / original.name)
    found = {ignore: examine(data_dir, f"--ignore={ignore}") for ignore in ("same_camera", "nothing")}
    assert {ignore: code for ignore, (code, _) in found.items()} == {"same_camera": 0, "nothing": 2}
    assert [one["kind"] for one in found["same_camera"][1]["findings"]] == ["copies_within_split"]
    assert "copies_query_and_gallery" in [one["kind"] for one in found["nothing"][1]["findings"]]


def remove_all_but(data_dir: Path, count: int) -> None:
    for path in [*images(data_dir, "train", "0003"), *images(data_dir, "train", "0003", 2)][count:]:
        path.unlink()


def one_camera(data_dir: Path) -> None:
    for path in data_dir.glob("*/*_c2s*.jpg"):
        path.rename(path.with_name(path.name.replace("_c2s", "_c1s")))


def unmatched(data_dir: Path) -> None:
    for path in images(data_dir, "gallery", "0009", 2):
        path.unlink()


def shared(data_dir: Path) -> None:
    path = images(data_dir, "gallery", "0000")[0]
    path.rename(path.with_name("0004_c1s1_099999_01.jpg"))


CATALOG_FAULTS = {
    "single_image": (2, lambda folder: remove_all_but(folder, 1), ["3"], "1 of 6 training identities have a single"),
    "few_images": (2, lambda folder: remove_all_but(folder, 3), ["3"], "1 of 6 training identities have fewer than 4"),
    "one_camera": (3, one_camera, [], "one camera id for everything"),
    "no_match": (2, unmatched, ["9"], "1 of 6 identities have queries (1 of 12) without a match"),
    "shared_identities": (2, shared, ["4"], "1 of 7 test identities are in the training split too"),
}


@pytest.mark.parametrize("kind", CATALOG_FAULTS)
def test_a_fault_of_the_catalog_is_named_and_nothing_else(data_dir, capsys, kind):
    expected_code, plant, names, message = CATALOG_FAULTS[kind]
    plant(data_dir)
    code, report = examine(data_dir)
    assert [(one["kind"], one["names"]) for one in report["findings"]] == [(kind, names)]
    assert code == expected_code and message in capsys.readouterr().out


def test_the_gravest_comes_first_and_the_first_names_stand_for_the_rest(data_dir, capsys):
    for path in images(data_dir, "gallery", "*")[:7]:
        FILE_FAULTS["gray"][1](path)
    FILE_FAULTS["wrong_suffix"][1](images(data_dir, "train", "0001")[0])
    FILE_FAULTS["empty"][1](images(data_dir, "train", "0002")[0])
    copy = data_dir / "bounding_box_train" / "0003_c1s1_099999_01.jpg"
    shutil.copy(images(data_dir, "train", "0005")[0], copy)
    code, report = examine(data_dir)
    kinds = [one["kind"] for one in report["findings"]]
    assert (code, kinds) == (3, ["empty", "copies_several_people", "gray", "wrong_suffix"])
    output = capsys.readouterr().out
    assert "1 error, 2 warnings, 1 note\n1. error: " in output and " and 2 more\n   -> Clothes" in output


def test_a_clean_set_ends_in_0_with_everything_counted(synthetic_dir, tmp_path, capsys):
    pictures = tmp_path / "pictures"
    file = tmp_path / "report.json"
    flags = [f"--json={file}", f"--pictures={pictures}", "--image_height=64", "--image_width=32"]
    assert doctor.main(["doctor", "--dataset=synthetic", f"--data_dir={synthetic_dir}", *flags]) == 0
    assert "nothing is wrong with it" in capsys.readouterr().out
    report = json.loads(file.read_text())
    assert report["findings"] == [] and report["data_dir"] == str(synthetic_dir)
    train_counts = report["counts"]["train"]
    assert train_counts["images"] == 36 and train_counts["images_by_camera"] == {"1": 18, "2": 18}
    assert train_counts["images_by_identity"] == {str(person): 6 for person in range(1, 7)}
    assert report["counts"]["gallery"]["images_by_identity"] == {
        "-1": 2,
        "0": 2,
        **{str(person): 4 for person in range(7, 13)},
    }
    assert [os.path.basename(path) for path in report["pictures"]] == ["training_batch.png", "across_cameras.png"]
    for path in report["pictures"]:
        Image.open(path).load()


def as_csv(data_dir: Path, *, person=str, camera="lobby {}".format, more: str = "") -> Path:
    """Lists the people of a dataset, but nobody, in a CSV beside it, under other names."""
    lines = ["image_path,person_id,camera_id,split"]
    for row in read_market1501(data_dir).query("person_id > 0").itertuples():
        path = os.path.relpath(row.image_path, data_dir.parent)
        lines.append(f"{path},{person(row.person_id)},{camera(row.camera_id)},{row.split}")
    file = data_dir.parent / "people.csv"
    file.write_text("\n".join(lines) + f"\n{more}", encoding="utf-8")
    return file


def test_a_csv_is_told_by_the_names_in_it_and_one_missing_file_is_a_finding(data_dir, capsys):
    remove_all_but(data_dir, 1)
    name = "\u674e{:04d}".format
    file = as_csv(data_dir, person=name, more=f"gone/1.jpg,{name(1)},lobby 1,train\n")
    code, report = examine(file, "--dataset=csv", f"--pictures={file.parent / 'pictures'}", "--identities_per_batch=6")
    found = {one["kind"]: one["names"] for one in report["findings"]}
    assert found == {"missing": [str(file.parent / "gone/1.jpg")], "single_image": [name(3)]} and code == 3
    train_counts = report["counts"]["train"]
    assert train_counts["images_by_camera"] == {"lobby 1": 17, "lobby 2": 15}
    assert train_counts["images_by_identity"] == {name(n): {1: 7, 3: 1}.get(n, 6) for n in range(1, 7)}
    output = capsys.readouterr().out
    assert "\nlobby 1 " in output and f"\n   {name(3)}\n" in output
    for label, written in report["labels"].items():  # of a machine without a font for it
        assert f"  {label}  {written}\n" in output


def test_cameras_and_people_whose_names_look_alike_are_named(data_dir, capsys):
    people = {1: "007", 2: "7", 3: "Jos\u00e9", 4: "Jose\u0301", 5: "anna ", 6: " anna"}
    file = as_csv(data_dir, person=lambda n: people.get(n, n), camera={1: "Lobby", 2: "lobby"}.get)
    code, report = examine(file, "--dataset=csv")
    found = {one["kind"]: one["names"] for one in report["findings"]}
    # 7 is 007 and a person of the test.
    assert found.pop("shared_identities") == ["7"] and code == 2
    assert found == {
        "look_alike_people": [["007", "7"], [people[4], people[3]]],
        "look_alike_cameras": [["Lobby", "lobby"]],
    }
    output = capsys.readouterr().out
    assert "   007 = 7, 'Jose\\u0301' = 'Jos\\xe9'\n" in output and "   Lobby = lobby\n" in output
    assert report["counts"]["train"]["images_by_identity"]["anna"] == 12


def test_the_camera_of_a_folder_comes_from_its_pattern(data_dir):
    folders = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}
    for path in data_dir.glob("*/0*.jpg"):
        person = data_dir.parent / "people" / folders[path.parent.name] / path.name[:4]
        person.mkdir(parents=True, exist_ok=True)
        path.rename(person / path.name[5:])
    code, report = examine(data_dir.parent / "people", "--dataset=folder", "--camera_pattern=(c[0-9])s")
    assert report["counts"]["query"]["images_by_camera"] == {"c1": 6, "c2": 6}
    assert "missing_cameras" not in {one["kind"] for one in report["findings"]} and code < 3


def test_pictures_leave_out_what_cannot_be_read(data_dir):
    for path in images(data_dir, "train", "0002")[:2]:
        path.write_bytes(b"")
    code, report = examine(data_dir, f"--pictures={data_dir.parent / 'pictures'}", "--identities_per_batch=6")
    assert code == 3 and len(report["pictures"]) == 2


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--data_dir=", "--data_dir is not set"),
        ("--data_dir=/no/such/folder", "data folder '/no/such/folder' does not exist"),
        ("--dataset=market", "--dataset"),
        ("--images_per_identity=1", "--images_per_identity"),
        ("--ignore=everything", "--ignore"),
        ("--ignore=same_tracklet", "the dataset has no tracklet_id"),
        ("--json=/no/such/folder/report.json", "--json=/no/such/folder/report.json cannot be written"),
        ("--pictures=/proc/pictures", "--pictures=/proc/pictures cannot be written"),
        ("--random_flip=2 --pictures=pictures", "--random_flip=2.0, expected a probability"),
        ("extra", "'extra' is no flag"),
    ],
)
def test_wrong_flags_are_one_line(synthetic_dir, refused, flag, text):
    assert text in refused(doctor.main, ["doctor", "--dataset=synthetic", f"--data_dir={synthetic_dir}", *flag.split()])


def test_help_lists_every_flag(capsys):
    assert doctor.main(["doctor", "--help"]) == 0
    output = capsys.readouterr().out
    assert "python -m keras_reid.doctor" in output
    assert all(f"--{name} [" in output for name in options.doctor_flags())


def test_train_stops_in_one_line_where_nothing_could_be_scored(data_dir, tmp_path, refused):
    one_camera(data_dir)
    error = refused(train.main, train_arguments(data_dir, tmp_path / "run"))
    assert "one camera id for everything: all 12 queries and 28 gallery images have 1" in error
    assert not (tmp_path / "run").exists()


def test_train_warns_and_goes_on(resnet50, data_dir, tmp_path, refused, capsys):
    """It goes on as far as the weights that are not there."""
    remove_all_but(data_dir, 1)
    arguments = train_arguments(data_dir, tmp_path / "run", "--backbone_weights=/no/such.keras")
    assert train.main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert "warning: 1 of 6 training identities have a single image" in captured.out and "/no/such" in captured.err


def test_the_catalog_part_loads_no_tensorflow_opens_no_file_and_does_not_loop_over_images():
    """The number of Python calls is that of the checks: it hardly grows from 1,000 images to 20,000."""
    code = """
import sys
import numpy as np, pandas as pd
import keras_reid.doctor, keras_reid.train
from keras_reid.data.checks.catalog_checks import check_catalog

def catalog(count):
    index = np.arange(count)
    return pd.DataFrame({
        "image_path": [f"/no/such/{n}.jpg" for n in index],
        "person_id": index % (count // 20) + 1,
        "camera_id": index // (count // 20) % 5 + 1,
        "split": np.where(index % (count // 20) % 2 == 0, "train", np.where(index < count // 4, "query", "gallery")),
    })

def calls(count):
    frame, counted, opened = catalog(count), [0], []
    def count_call(frame, event, argument):
        counted[0] += event == "call"
    sys.addaudithook(lambda event, arguments: opened.append(arguments) if event == "open" else None)
    sys.setprofile(count_call)
    findings = check_catalog(frame)
    sys.setprofile(None)
    assert findings == [] and opened == [], (findings, opened)
    return counted[0]

calls(1000)  # what is imported or cached on first use
few, many = calls(1000), calls(20000)
assert many < 1.2 * few, (few, many)
assert "tensorflow" not in sys.modules
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
