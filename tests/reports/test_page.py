"""The page's content: what it says is what was scored, names are text, and every kind of data has its page."""

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from keras_reid import evaluate, train
from keras_reid.evaluation import Embedded
from keras_reid.reports import page as page_module
from keras_reid.reports.page import Record
from tests.conftest import train_arguments
from tests.reports.pages import HEBREW, PEOPLE, ROCKET, embedded_of, write


class Read(HTMLParser):
    """What a page holds: its tags with their attributes, and the texts inside each kind of element."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "br", "input", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        self.texts.append((tuple(self.open), data))

    def inside(self, tag) -> list[str]:
        return ["".join(data.split("\n")).strip() for open_, data in self.texts if tag in open_ and data.strip()]

    def all(self, tag, **attributes) -> list[dict]:
        named = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            found
            for name, found in self.tags
            if name == tag and all(value in (found.get(key) or "").split(" ") for key, value in named.items())
        ]

    @property
    def text(self) -> str:
        shown = (data for open_, data in self.texts if not {"script", "style"} & set(open_))
        return re.sub(r"\s+", " ", " ".join(shown))


def read(path) -> Read:
    return Read(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """The page of odd names, and what was scored."""
    folder = tmp_path_factory.mktemp("odd")
    embedded = embedded_of(folder)
    report = write(folder / "page.html", embedded, title="</title><b>", source="<i>run</i>", threshold=2.5)
    return read(folder / "page.html"), embedded, report


def test_the_verdict_says_the_scores_and_how_they_were_counted(odd):
    page, _, report = odd
    result, low_high = report.result, report.intervals
    assert f"mAP {100 * result.mean_average_precision:.1f} % (" in page.text
    assert f"top-1 {100 * result.top1:.1f} % (" in page.text and low_high
    first = int((result.first_match_rank == 1).sum())
    assert f"For {first} of 18 queries the nearest gallery image that counts shows the same person." in page.text
    assert "18 queries against 36 gallery images, compared by euclidean distance." in page.text
    for words in ("ignored: neither right nor wrong", "No query was skipped", "Ties: at equal distances", "bootstrap"):
        assert words in page.text, words


def test_three_blocks_show_random_worst_and_best_queries_with_the_ranks_that_count(odd):
    page, embedded, report = odd
    assert [text for text in page.inside("h3") if text.endswith("queries")] == [
        "Random queries",
        "Worst queries",
        "Best queries",
    ]
    shown = page.all("article", class_="query")
    assert len(shown) == 18  # 6 of 18 queries in each block
    names, scores = report.per_query["query"], np.array(report.result.average_precision)
    at = [names.index(one["data-query"]) for one in shown]
    assert scores[at[6:12]].tolist() == sorted(scores)[:6]
    assert scores[at[12:]].tolist() == sorted(scores)[:-7:-1]
    ranks = report.result.first_match_rank[at]
    assert [one["data-outcome"] for one in shown] == ["first" if rank == 1 else "later" for rank in ranks]
    assert [one["data-person"] for one in shown] == embedded.query.person_id_name[at].tolist()
    assert page.text.count("first right image at rank") >= 18


def test_names_are_text_and_each_image_says_who_and_where(odd):
    page, embedded, _ = odd
    assert page.inside("title")[0] == "</title><b>: what the network does"
    assert set(page.inside("bdi")) >= {*PEOPLE, "</title><b>", "<i>run</i>"}
    assert len(page.all("script")) == 2 and not page.all("i")
    alts = [image["alt"] for image in page.all("img")]
    assert all(alts) and any(f"identity {ROCKET}, camera lobby <1>" in alt for alt in alts)
    assert any(re.match("Rank 1, (right|wrong), of query", alt) for alt in alts)
    missing = [box["aria-label"] for box in page.all("div", role="img")]
    assert any("photo is missing" in label for label in missing) and any("cannot be read" in label for label in missing)
    paths = {group["data-image"] for group in page.all("div", class_="verdicts")}
    assert paths <= set(embedded.query.image_path) and any(HEBREW in path for path in paths)


def test_headings_are_in_order_and_everything_has_its_label(odd):
    page, *_ = odd
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    ids = [found["id"] for _, found in page.tags if found.get("id")]
    assert len(ids) == len(set(ids))
    targets = [found["href"][1:] for found in page.all("a") if not found["href"].startswith("#query=")]
    assert set(targets) <= set(ids)
    assert len(page.all("caption")) == len(page.all("table")) >= 4
    assert not [found for tag, found in page.tags if found.get("src", "data:").split(":")[0] != "data"]


def test_the_threshold_and_its_errors_are_counted(odd):
    page, embedded, report = odd
    assert "The calibrated threshold is 2.5" in page.text
    point = report.verification.at(2.5)
    accepts = round(point.false_positive_rate * report.verification.impostor_pairs)
    assert f"{accepts:,} ({100 * point.false_positive_rate:.3g} %)" in page.text


def test_a_first_right_image_that_is_far_away_is_shown_apart(tmp_path):
    query = pd.DataFrame({"person_id": [1], "camera_id": [1]})
    gallery = pd.DataFrame({"person_id": [*range(2, 60), 1], "camera_id": 2})
    embedded = Embedded(query, np.zeros((1, 1), np.float32), gallery, np.arange(1, 60, dtype=np.float32)[:, None])
    write(tmp_path / "one.html", embedded)
    page = read(tmp_path / "one.html")
    assert "first right image at rank 59" in page.inside("li")
    assert "For 0 of 1 query" in page.text and "no photo" in page.text
    assert not page.all("div", class_="verdicts")  # without files nothing can be corrected
    assert len(page.all("article", class_="query")) == 3


def test_skipped_queries_are_named_and_shown_as_such(tmp_path):
    query = pd.DataFrame({"person_id": [7, 8, 9, 1], "camera_id": [1, 1, 1, 1]})
    gallery = pd.DataFrame({"person_id": [1, 2], "camera_id": [2, 2]})
    embedded = Embedded(query, np.zeros((4, 1), np.float32), gallery, np.ones((2, 1), np.float32))
    write(tmp_path / "page.html", embedded)
    page = read(tmp_path / "page.html")
    assert "3 of 4 queries have no true match in the gallery and are skipped: 0, 1, 2." in page.text
    assert "For 0 of 1 query" in page.text  # at one distance the wrong image counts as nearer
    outcomes = [one["data-outcome"] for one in page.all("article", class_="query")]
    assert "skipped" in outcomes[:2] and outcomes[2:] == ["later", "later"]  # worst and best are of scored ones


def test_without_cameras_the_page_says_so(tmp_path):
    embedded = embedded_of(cameras=(None, None))
    write(tmp_path / "page.html", embedded, record=Record())
    page = read(tmp_path / "page.html")
    assert "camera lobby" not in page.text and not page.all("select", name="camera")
    assert "has a camera of its own" in page.text


def test_many_identities(tmp_path):
    """50,000 identities: the page is a sample, and says of what."""
    ids, random = np.arange(1, 50_001), np.random.default_rng(0)
    frame = pd.DataFrame({"person_id": ids, "camera_id": 1})
    places = random.normal(size=(50_000, 4)).astype(np.float32)
    query, near = frame[:30].assign(camera_id=2), places[:30] + 0.01
    write(tmp_path / "page.html", Embedded(query, near, frame, places))
    page = read(tmp_path / "page.html")
    assert "30 queries against 50,000 gallery images" in page.text and "10 of 30 queries" in page.text
    assert (tmp_path / "page.html").stat().st_size < 2_000_000


def test_a_page_that_would_be_too_large_shows_fewer_queries(tmp_path, monkeypatch):
    embedded = embedded_of(tmp_path)
    write(tmp_path / "whole.html", embedded)
    size = (tmp_path / "whole.html").stat().st_size
    monkeypatch.setattr(page_module, "LARGEST", size - 20_000)
    write(tmp_path / "cut.html", embedded)
    assert (tmp_path / "cut.html").stat().st_size <= size - 20_000
    page = read(tmp_path / "cut.html")
    shown = len(page.all("article", class_="query")) // 3
    assert 1 <= shown < 6 and f"{shown} of 18 queries" in page.text


def test_evaluate_writes_the_page_of_a_run(finished_run, synthetic_dir, tmp_path, refused):
    dataset = ["--dataset=synthetic", f"--data_dir={synthetic_dir}"]
    arguments = ["evaluate", f"--artifact={finished_run}", *dataset, f"--report={tmp_path / 'page.html'}"]
    assert evaluate.main(arguments) == 0
    page, evaluation = read(tmp_path / "page.html"), json.loads((finished_run / "evaluation.json").read_text())
    mean_color = 100 * evaluation["baselines"]["mean colour"]["mean_average_precision"]
    assert f"that of an image's mean color ({mean_color:.1f} %)" in page.text
    assert "Scores in training" in page.text and "Run card" in page.text
    assert page.all("button", class_="look")
    assert "no permission" in refused(evaluate.main, [*arguments[:-1], "--report=/proc/page.html"])
    assert "is for one dataset" in refused(evaluate.main, [*arguments, f"--data_dir={tmp_path}"])


def test_other_artifacts_and_saved_embeddings_have_their_page(finished_run, synthetic_dir, tmp_path):
    report, saved = f"--report={tmp_path / 'page.html'}", tmp_path / "saved"
    artifact = [f"--artifact={finished_run / 'export' / 'embedder.tflite'}", f"--save_embeddings={saved}"]
    assert evaluate.main(["evaluate", *artifact, "--dataset=synthetic", f"--data_dir={synthetic_dir}", report]) == 0
    page = read(tmp_path / "page.html")
    assert "Attention is not shown: attention needs the gradients of a Keras network" in page.text
    assert "that of the untrained network" in page.text  # the file lies in the run's folder
    sides = [f"--{side}_embeddings={saved / side}.npz" for side in ("query", "gallery")]
    assert evaluate.main(["evaluate", *sides, report, "--rerank"]) == 0
    page = read(tmp_path / "page.html")
    assert page.inside("h1") == ["embeddings"] and "here are embeddings alone" in page.text
    assert "before re-ranking" in page.text and "re-ranked" in page.inside("th")
    assert len(page.all("img")) > 50  # the files name their photos


def test_a_run_has_its_page_and_is_not_lost_without(with_pictures, finished_run, synthetic_dir, tmp_path, capsys):
    """A page that cannot be written is told; the same command writes it later."""
    page = read(finished_run / "report.html")
    assert "Scores in training" in page.text and page.all("button", class_="look")
    run = shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("report.html", "checkpoints"))
    network = (run / "last.keras").read_bytes()
    (run / "last.keras").write_bytes(network[:1000])
    arguments = train_arguments(synthetic_dir, run, "--epochs=2")
    assert train.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "report.html was not written" in shown and "this run is finished" in shown
    assert not (run / "report.html").exists()
    (run / "last.keras").write_bytes(network)
    assert train.main(arguments) == 0
    again = read(run / "report.html")
    assert again.inside("h1") == ["synthetic"] and again.inside("h2") == page.inside("h2")
    assert [found["data-query"] for found in again.all("article", class_="query")] == [
        found["data-query"] for found in page.all("article", class_="query")
    ]
