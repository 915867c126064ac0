"""`python -m keras_reid.compare`: the distance by hand, the verdict on either side of the threshold, bad input."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_reid import compare, options
from keras_reid.artifacts import artifact_of, describe_embedder, update_metadata
from keras_reid.models import save_keras
from tests.conftest import tiny_embedder


@pytest.fixture
def refused(refused):
    """Runs this command, which must be refused; returns its one line."""
    return lambda *arguments: refused(compare.main, ["compare", *arguments])


@pytest.fixture
def photos(tmp_path) -> list:
    """Two images of different sizes, as paths."""
    paths = []
    for number, size in enumerate([(20, 12, 3), (33, 15, 3)]):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(np.random.default_rng(number).integers(0, 256, size, np.uint8)).save(paths[-1])
    return paths


def save(tmp_path, metric: str, **changes):
    """A small network as a `.keras` file; returns the path and, by NumPy, the distance of two pictures."""
    embedder = tiny_embedder()
    metadata = {**describe_embedder(embedder, metric=metric), **changes}
    path = save_keras(embedder, tmp_path / "tiny.keras", metadata=metadata)

    def distance(paths) -> float:
        pixels = [np.asarray(Image.open(photo)) for photo in paths]
        first, second = (artifact_of(embedder).embed(image[None])[0].astype(float) for image in pixels)
        if metric == "euclidean":
            return sum((a - b) ** 2 for a, b in zip(first, second)) ** 0.5
        return 1 - sum(first * second) / sum(first**2) ** 0.5 / sum(second**2) ** 0.5

    return path, distance


def printed_distance(output: str) -> float:
    return float(re.search(r"distance of .*: (\S+)", output)[1])


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_distance_is_by_the_artifacts_metric(tmp_path, photos, capsys, metric):
    path, distance = save(tmp_path, metric)
    assert compare.main(["compare", f"--artifact={path}", *map(str, photos)]) == 0
    output = capsys.readouterr().out
    assert output.startswith(f"{metric} distance of {photos[0]} and {photos[1]}: ")
    assert printed_distance(output) == pytest.approx(distance(photos), rel=1e-4)
    lines = output.splitlines()
    assert len(lines) == 2 and "person or not" in lines[1]
    assert f"python -m keras_reid.evaluate --artifact={path} --calibrate_fpr=1e-3 --dataset=... --data_dir=" in lines[1]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(("factor", "verdict"), [(1.001, "same person: at most"), (0.999, "different people: above")])
def test_the_verdict_is_on_the_right_side_of_the_threshold(tmp_path, photos, capsys, metric, factor, verdict):
    path, distance = save(tmp_path, metric)
    threshold = factor * distance(photos)
    update_metadata(path, {"threshold": threshold, "false_positive_rate": 1e-3, "threshold_dataset": "market1501"})
    # Flags and images in any order.
    assert compare.main(["compare", str(photos[0]), f"--artifact={path}", str(photos[1])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"{verdict} the threshold of {threshold:.6g}, for a false positive rate of 0.001 on market1501"
    assert "hint" in lines[2] and len(lines) == 3


def test_a_distance_equal_to_the_threshold_is_the_same_person():
    assert compare.answer(0.5, 0.5, {}).startswith("same person: at most the threshold of 0.5, for an unknown false")


def test_augmentation_changes_the_distance_and_the_threshold_is_said_to_be_of_another(tmp_path, photos, capsys):
    path, distance = save(tmp_path, "euclidean", threshold=1.0)
    for augmentation in ("none", "flip"):
        flags = [f"--artifact={path}", f"--test_time_augmentation={augmentation}"]
        assert compare.main(["compare", *flags, *map(str, photos)]) == 0
    plain, flipped = capsys.readouterr().out.split("euclidean distance of")[1:]
    assert "--test_time_augmentation=none" not in plain
    assert "calibrated with --test_time_augmentation=none: with flip" in flipped
    mirrored = []
    for photo in photos:
        mirrored.append(tmp_path / f"mirrored{photo.name}")
        Image.fromarray(np.asarray(Image.open(photo))[:, ::-1]).save(mirrored[-1])
    # The distance of two means is at most the mean of the distances.
    bound = (distance(photos) + distance(mirrored)) / 2
    shown = printed_distance("distance of" + flipped)
    assert 0 < shown <= bound * (1 + 1e-4) and shown != printed_distance("distance of" + plain)


def test_a_trained_run_compares_its_own_pictures(finished_run, tiny_catalog, capsys):
    first, second = tiny_catalog.image_path[:2]
    for other in (first, second):
        assert compare.main(["compare", f"--artifact={finished_run}", first, other]) == 0
    same, different = (float(value) for value in re.findall(r"jpg: (\S+)", capsys.readouterr().out))
    assert same == pytest.approx(0, abs=1e-5) and different > same


def test_help_lists_every_flag(capsys):
    assert compare.main(["compare", "--help"]) == 0
    output = capsys.readouterr().out
    assert "python -m keras_reid.compare --artifact=PATH A.jpg B.jpg" in output
    assert all(f"--{name} [" in output for name in options.compare_flags())


def test_two_images_are_needed(photos, refused):
    assert "--artifact is not set" in refused(*photos)
    for images in ([], photos[:1], [*photos, photos[0]]):
        assert f"expected two images, as in compare --artifact=PATH A.jpg B.jpg; got {len(images)}" in refused(
            "--artifact=x", *images
        )


def test_files_are_checked_before_tensorflow_is_loaded(tmp_path, photos):
    """Missing and damaged ones are told apart, in well under the seconds that TensorFlow takes."""
    path, _ = save(tmp_path, "euclidean")
    content = {"empty.jpg": b"", "cut.png": photos[0].read_bytes()[:-200], "text.jpg": b"no image"}
    content |= {"cut.keras": path.read_bytes()[:-100], "bit.keras": bytearray(path.read_bytes()), "cut.tflite": b"TFL3"}
    content["bit.keras"][len(content["bit.keras"]) // 2] ^= 1
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    good = str(photos[0])
    cases = [
        (path, ["gone.jpg", "empty.jpg"], "gone.jpg' does not exist; .*empty.jpg' is empty"),
        (path, ["cut.png", "text.jpg"], "cut.png' is damaged .*; .*text.jpg' is no image, or is damaged"),
        (path, [".", good], "is a folder"),
        ("gone.keras", [good, good], "no artifact at"),
        ("cut.keras", [good, good], "is no .keras file .a zip archive., or is cut short"),
        ("bit.keras", [good, good], "is no .keras file"),
        ("cut.tflite", [good, good], "holds no reid.json"),
    ]
    code = f"""
import re, sys
from keras_reid import compare
from keras_reid.errors import ReidError
flags = compare.options.compare_flags()
for artifact, images, text in {[(str(artifact), images, text) for artifact, images, text in cases]!r}:
    flags(["compare", f"--artifact={{artifact}}"])
    flags.arguments[:] = images
    try:
        compare.compare(flags)
    except ReidError as error:
        assert re.search(text, str(error)), (text, str(error))
    else:
        raise AssertionError(text)
assert "tensorflow" not in sys.modules
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr


def test_bad_input_is_named(tmp_path, photos, refused):
    path, _ = save(tmp_path, "euclidean", threshold="far")
    (tmp_path / "no.jpg").write_text("no image")
    assert "no.jpg" in refused(f"--artifact={path}", photos[0], tmp_path / "no.jpg")
    assert "missing.jpg" in refused(f"--artifact={path}", photos[0], tmp_path / "missing.jpg")
    assert "no artifact at" in refused("--artifact=/no/such", *photos)
    assert "--test_time_augmentation" in refused(f"--artifact={path}", "--test_time_augmentation=ten", *photos)
    assert "threshold 'far', expected a number" in refused(f"--artifact={path}", *photos)


def test_other_commands_still_take_flags_alone(capsys):
    from keras_reid import embed

    assert embed.main(["embed", "extra"]) == 1
    assert "'extra' is no flag" in capsys.readouterr().err
