"""Names with brackets, quotes, spaces, `%`, `#`, `*`, `$`, backslashes and other scripts: paths like any other."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_reid import compare, doctor, embed, train
from keras_reid.artifacts import describe_embedder, open_artifact, read_embeddings, update_metadata
from keras_reid.artifacts.formats import savedmodel
from keras_reid.data import read_dataset
from keras_reid.data.image_list import list_images
from keras_reid.errors import ReidError
from keras_reid.files import remove_leftovers_of, temporary_name
from keras_reid.flag_values import find_flagfile
from keras_reid.models import save_keras
from keras_reid.training import Checkpoints, Settings
from tests.conftest import tiny_embedder, train_arguments
from tests.training.test_checkpoints import trainer_of

pytestmark = pytest.mark.skipif(os.name != "posix", reason="other systems do not allow such names")
ODD = [
    "a [1]",
    "[",
    "back\\slash",
    "100% #1 *?",
    "'quoted' \"twice\"",
    "$x$ ${HOME} {0} ~",
    "写真 é",
    "-x",
    "a:b,c;d&e",
]


def photo(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 12, 3), np.uint8)).save(path)
    return path


@pytest.mark.parametrize("name", ODD)
def test_a_checkpoint_comes_back(tmp_path, name):
    """TensorFlow takes the path of a checkpoint for a pattern."""
    saved, other = trainer_of(), trainer_of()
    Checkpoints(tmp_path / name, saved).save(3)
    assert Checkpoints(tmp_path / name, other).restore_newest() == 3
    for one, two in zip(saved.embedder.get_weights(), other.embedder.get_weights()):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", ODD)
def test_a_savedmodel_opens_and_is_calibrated(tmp_path, name):
    embedder, folder = tiny_embedder(), tmp_path / name / "embedder" / "1"
    savedmodel.write(embedder, folder, describe_embedder(embedder))
    update_metadata(folder, {"threshold": 0.5})
    artifact = open_artifact(tmp_path / name / "embedder")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 16, 3), np.uint8)
    np.testing.assert_allclose(artifact.embed(images), embedder(images.astype(np.float32)), rtol=1e-4, atol=1e-5)
    assert artifact.threshold == 0.5 and artifact.name == str(folder)


@pytest.fixture(scope="module")
def embedder():
    return tiny_embedder()


@pytest.mark.parametrize("name", ["a [1] \"b\" 'c' 100% #1 *? \\ $x$ {0} 写", "-x:1"])
def test_embed_and_compare_take_them_everywhere(tmp_path, monkeypatch, capsys, embedder, name):
    """As artifact, folder, pattern and output; relative, where a colon or a dash could mean something else."""
    monkeypatch.chdir(tmp_path)
    artifact = save_keras(embedder, Path(name, "tiny.keras"), metadata=describe_embedder(embedder))
    first, second = photo(Path(name, f"1{name}.png")), photo(Path(name, "2.png"), 1)
    output = f"{name}/{name}.parquet"
    assert embed.main(["embed", f"--artifact={artifact}", f"--images={name}/*.png", f"--output={output}"]) == 0
    assert read_embeddings(output).frame.image_path.tolist() == [str(first), str(second)]
    assert list_images(name).image_path.tolist() == [str(first), str(second)]
    assert compare.main(["compare", f"--artifact={artifact}", "--", str(first), str(second)]) == 0
    assert f"distance of {first} and {second}" in capsys.readouterr().out


def test_the_file_of_that_name_comes_before_what_the_pattern_matches(tmp_path):
    for name in ("star[1].jpg", "star1.jpg", "odd[2]/x.jpg", "odd2/x.jpg"):
        photo(tmp_path / name)
    found = {
        pattern: [os.path.relpath(path, tmp_path) for path in list_images(tmp_path / pattern).image_path]
        for pattern in ("star[1].jpg", "star[12].jpg", "star*", "odd[2]/*.jpg", "odd[23]/*.jpg")
    }
    assert found == {
        "star[1].jpg": ["star[1].jpg"],
        "star[12].jpg": ["star1.jpg"],
        "star*": ["star1.jpg", "star[1].jpg"],
        "odd[2]/*.jpg": ["odd[2]/x.jpg"],
        "odd[23]/*.jpg": ["odd2/x.jpg"],
    }


def test_doctor_takes_them_everywhere(tmp_path, synthetic_dir):
    folder = tmp_path / "a [1] % 写 $x$ \\"
    shutil.copytree(synthetic_dir, folder / "data")
    flags = [f"--data_dir={folder}/data", f"--json={folder}/[1] %.json", f"--pictures={folder}/[pictures]"]
    assert doctor.main(["doctor", "--dataset=synthetic", "--image_height=32", "--image_width=16", *flags]) == 0
    assert len(json.loads((folder / "[1] %.json").read_text())["pictures"]) == 2


def test_leftovers_are_found_and_those_of_others_stay(tmp_path):
    ours, other = (temporary_name(tmp_path / name) for name in ("a[1].tflite", "a1.tflite"))
    for path in (ours, other):
        path.write_text("half")
    remove_leftovers_of(tmp_path / "a[1].tflite", older_than=0)
    assert list(tmp_path.iterdir()) == [other]


@pytest.mark.parametrize("name", ODD)
def test_a_flagfile_is_found(tmp_path, name):
    (tmp_path / name).write_text("--epochs=1\n")
    assert find_flagfile(str(tmp_path / name)) == tmp_path / name


@pytest.mark.parametrize("name", ["a\nb", "a\r", "a\u2028b"])
def test_what_run_flags_cannot_hold_is_refused_before_any_work(tmp_path, name, refused, synthetic_dir):
    for setting in ("run_dir", "data_dir"):
        with pytest.raises(ReidError, match="holds a line break"):
            Settings(**{setting: name})
    assert "line break" in refused(train.main, train_arguments(synthetic_dir, tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_not_in_utf_8_are_refused_before_any_work(tmp_path, refused):
    """TensorFlow takes no such name, and no terminal shows it."""
    name = os.fsdecode(b"\xff")
    assert "is not in UTF-8" in refused(train.main, ["train", f"--run_dir={tmp_path}/{name}", "--data_dir=x"])
    try:
        photo(tmp_path / "anna" / f"{name}.png")
    except OSError:
        pytest.skip("this disk takes no such name")
    with pytest.raises(ReidError, match="not in UTF-8"):
        read_dataset("folder", tmp_path)
