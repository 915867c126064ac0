"""`python -m keras_reid.visualize`: the pictures that it draws, and what it refuses."""

import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from keras_reid import visualize
from keras_reid.artifacts import describe_embedder
from keras_reid.evaluation import choose_queries, evaluate_retrieval
from keras_reid.models import save_keras
from tests.conftest import tiny_embedder


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    embedder = tiny_embedder()
    return save_keras(embedder, tmp_path_factory.mktemp("artifact") / "a.keras", metadata=describe_embedder(embedder))


@pytest.fixture
def given(artifact, synthetic_dir, tmp_path):
    return [f"--artifact={artifact}", "--dataset=synthetic", f"--data_dir={synthetic_dir}", f"--output={tmp_path}/out"]


def test_everything_is_drawn(given, tmp_path, capsys):
    flags = ["--what=ranked_lists,attention,embedding_map", "--count=2", "--top=2"]
    assert visualize.main(["visualize", *given, *flags]) == 0
    output = capsys.readouterr().out
    for name in ("ranked_lists", "attention", "embedding_map"):
        image = np.asarray(Image.open(tmp_path / "out" / f"{name}.png").convert("RGB"))
        assert min(image.shape[:2]) > 400 and len(np.unique(image.reshape(-1, 3), axis=0)) > 50
        assert f"drawn {tmp_path}/out/{name}.png" in output


def test_named_queries_as_svg(given, synthetic_dir, tmp_path):
    names = sorted(path.name for path in (synthetic_dir / "query").iterdir())[:2]
    flags = [f"--queries={names[1]},{synthetic_dir}/query/{names[0]}", "--format=svg", "--what=ranked_lists"]
    assert visualize.main(["visualize", *given, *flags]) == 0
    root = ElementTree.parse(tmp_path / "out" / "ranked_lists.svg").getroot()
    texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("query") == 2 and any("2 of 12 queries" in text for text in texts)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}image"))) >= 2 * 9


@pytest.mark.parametrize(
    "flags, line",
    [
        (["--what=lists"], "--what=lists, expected one or more of ranked_lists, attention, embedding_map"),
        (["--queries=nobody.jpg"], "--queries=nobody.jpg: no query is called that; expected worst, best, random, or"),
        (["--queries="], "--queries is empty"),
        (["--output="], "--output is not set"),
        (["--output=/proc/pictures"], "--output=/proc/pictures cannot be written"),
        (["--format=gif"], "gif"),
    ],
)
def test_bad_input_is_one_line(given, refused, flags, line):
    assert line in refused(visualize.main, ["visualize", *given, *flags])


def test_attention_of_what_has_no_gradients_is_refused_before_any_work(finished_run, given, refused, tmp_path):
    (lite,) = (finished_run / "export").glob("*.tflite")
    copy = shutil.copy(lite, tmp_path)
    line = refused(visualize.main, ["visualize", *given, f"--artifact={copy}", "--what=ranked_lists,attention"])
    assert "--what=attention needs the gradients of a Keras network" in line and "(tflite) has none" in line


def test_queries_are_chosen_by_average_precision():
    people = {"query_person_ids": [1, 2, 3, 9], "gallery_person_ids": [1, 2, 3, 4], "ignore": "nothing"}
    result = evaluate_retrieval([[0.0], [1.6], [2.4], [1.0]], [[0.0], [1.0], [2.0], [2.5]], **people)
    # Query 0 finds its image first, 1 second (2.0 is nearer than 1.0), 2 second (2.5 is nearer than 2.0); 3 has none.
    assert result.first_match_rank.tolist() == [1, 2, 2, 0]
    assert sorted(choose_queries(result, "worst", 2)) == [1, 2] and choose_queries(result, "best", 1).tolist() == [0]
    assert choose_queries(result, "best", 9)[-1] == choose_queries(result, "worst", 9)[0]
    assert sorted(choose_queries(result, "random", 9)) == [0, 1, 2, 3]
    first = {choose_queries(result, "random", 1, seed=seed)[0] for seed in range(20)}
    assert (
        len(first) > 1
        and (choose_queries(result, "random", 3, seed=5) == choose_queries(result, "random", 3, seed=5)).all()
    )
