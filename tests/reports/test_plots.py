"""Plots of scores: what stands on them, against counts by hand; and SVG that a page can hold several of."""

import re
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from keras_reid.evaluation import Report, evaluate_retrieval, verify
from keras_reid.evaluation.breakdown import camera_pairs
from keras_reid.evaluation.embedded import Embedded
from keras_reid.evaluation.report import per_query
from keras_reid.evaluation.uncertainty import cmc_intervals
from keras_reid.reports import plots


def embedded_of(queries: int, gallery: int, people: int, *, metric="euclidean", seed=0) -> Embedded:
    random = np.random.default_rng(seed)

    def side(count):
        ids = np.arange(count) % people + 1
        frame = pd.DataFrame({"person_id": ids, "camera_id": random.integers(1, 4, count)})
        return frame, (random.normal(size=(count, 5)) + 2 * np.sin(ids)[:, None] * np.arange(5)).astype(np.float32)

    return Embedded(*side(queries), *side(gallery), metric)


@pytest.fixture(scope="module")
def embedded():
    return embedded_of(30, 240, 10)


def texts_of(figure) -> str:
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return "\n".join([axes.get_title(loc="left") for axes in figure.axes] + legends)


def test_the_band_of_the_cmc_is_that_of_resampled_queries(embedded):
    result = embedded.evaluate(ranks=20)
    found = (result.first_match_rank[:, None] <= np.arange(1, 21)).astype(float)
    random = np.random.default_rng(0)
    means = [found[random.integers(len(found), size=len(found))].mean(axis=0) for _ in range(4000)]
    expected = np.quantile(means, [0.025, 0.975], axis=0)
    # Shares of 30 queries are steps of 1 / 30: the two may lie on both sides of one.
    np.testing.assert_allclose(cmc_intervals(result), expected, atol=1.01 / 30)
    assert (np.diff(cmc_intervals(result), axis=0) > 0).any()


def test_the_cmc_is_in_percent_and_says_scores_with_intervals(embedded):
    result = embedded.evaluate(ranks=20)
    figure = plots.painted(lambda axes: plots.paint_cmc(axes, result, dataset="set $1$ of $2$"))
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), 100 * result.cmc)
    texts = texts_of(figure)
    assert "CMC of 30 queries on set $1$ of $2$" in texts
    assert "set $1$ of $2$, as it is" in plots.svg(
        plots.painted(lambda axes: plots.paint_cmc(axes, result, dataset="set $1$ of $2$, as it is")), "CMC"
    )
    assert re.search(rf"mAP {100 * result.mean_average_precision:.1f} % \[[\d.]+, [\d.]+\], top-1", texts)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_threshold_says_what_it_accepts(embedded, metric):
    embedded = embedded_of(30, 240, 10, metric=metric)
    pairs = embedded.verify()
    threshold = 1.1 * pairs.equal_error().threshold
    query, gallery = embedded.query_embeddings.astype(float), embedded.gallery_embeddings.astype(float)
    accepted = {True: [], False: []}
    for (person, camera), a in zip(embedded.query.to_numpy(), query):
        for (other, other_camera), b in zip(embedded.gallery.to_numpy(), gallery):
            distance = np.linalg.norm(a - b)
            if metric == "cosine":
                distance = 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            if person != other or camera != other_camera:
                accepted[person == other].append(distance <= threshold)
    genuine, impostor = (100 * np.mean(accepted[same]) for same in (True, False))
    for paint in (plots.paint_roc, plots.paint_distances):
        figure = plots.painted(lambda axes, paint=paint: paint(axes, pairs, dataset="streets", threshold=threshold))
        assert f"threshold {threshold:.4g}" in texts_of(figure) and "equal error rate" in texts_of(figure)
        if paint is plots.paint_roc:
            assert f"accepts {impostor:.3g} % of impostor, {genuine:.3g} % of genuine pairs" in texts_of(figure)
            x, y = figure.axes[0].lines[-1].get_data()
            np.testing.assert_allclose([x[0], y[0]], [impostor, genuine])
            assert figure.axes[0].lines[0].get_xdata().max() == 100
        assert "on streets" in texts_of(figure)


def test_bins_fit_the_number_of_pairs_and_both_kinds_are_seen():
    few, many = embedded_of(2, 40, 20).verify(), embedded_of(60, 400, 6).verify()
    assert few.genuine_pairs < 5 < 50 < few.impostor_pairs and many.genuine_pairs > 2000
    assert len(plots.bin_edges(few)) - 1 == 5 and 20 < len(plots.bin_edges(many)) - 1 < 60
    for pairs in (few, many):
        figure = plots.painted(lambda axes, pairs=pairs: plots.paint_distances(axes, pairs))
        filled = [patch.get_data() for patch in figure.axes[0].patches[::2]]
        for values, edges, _ in filled:  # of genuine and of impostor pairs, however different their numbers
            assert values.sum() == pytest.approx(100) and len(values) == len(edges) - 1
    # The naive histogram of the same pairs; the scale of a million steps moves a pair over an edge at most.
    query, gallery = embedded_of(60, 400, 6), None
    gallery = query.gallery_embeddings.astype(float)
    distances = np.linalg.norm(query.query_embeddings.astype(float)[:, None] - gallery, axis=2)
    impostor = distances[query.query.person_id.to_numpy()[:, None] != query.gallery.person_id.to_numpy()]
    values, edges, _ = filled[1]
    np.testing.assert_allclose(values, 100 * np.histogram(impostor, edges)[0] / len(impostor), atol=0.02)


def test_one_query_one_pair_and_a_collapse_are_legible(tmp_path):
    query = pd.DataFrame({"person_id": [1], "camera_id": [1]})
    gallery = pd.DataFrame({"person_id": [1, 2], "camera_id": [2, 2]})
    for places in ([[1.0], [2.0]], [[0.0], [0.0]]):
        embedded = Embedded(query, np.zeros((1, 1)), gallery, np.array(places))
        result = embedded.evaluate()
        report = Report(result, per_query(query, result), {}, verification=embedded.verify())
        report.camera_pairs = camera_pairs(embedded).to_dict("list")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            paths = plots.draw(tmp_path / "new", report, dataset="one \u202e<b>", threshold=1e9)
        assert [path.name for path in paths] == ["cmc.png", "roc.png", "distances.png", "camera_pairs.png"]
        assert all(path.stat().st_size > 5000 for path in paths)
    figure = plots.painted(lambda axes: plots.paint_distances(axes, embedded.verify(), threshold=1e9))
    assert "threshold 1e+09, far outside" in texts_of(figure)
    assert "[" not in texts_of(plots.painted(lambda axes: plots.paint_cmc(axes, result)))  # of one query: no interval


def test_the_matrix_of_cameras_says_each_pair_and_leaves_gaps(embedded):
    pairs = camera_pairs(embedded)
    figure = plots.painted(lambda axes: plots.paint_camera_pairs(axes, pairs.to_dict("list")))
    written = [text.get_text() for text in figure.axes[0].texts]
    assert len(written) == 9 and written.count("\u2013") == 9 - len(pairs) == 3
    assert written[1] == f"{100 * pairs.mean_average_precision[0]:.0f}"  # queries of camera 1, gallery of camera 2
    many = [(f"camera {a}", f"$ {b}", 0.5) for a in range(60) for b in range(60)]
    many = pd.DataFrame(many, columns=["query_camera", "gallery_camera", "mean_average_precision"])
    figure = plots.painted(lambda axes: plots.paint_camera_pairs(axes, many.to_dict("list")))
    assert not figure.axes[0].texts and len(figure.axes[0].get_xticklabels()) == 30
    none = {"query_camera": [], "gallery_camera": [], "mean_average_precision": []}
    assert "no pair" in texts_of(plots.painted(lambda axes: plots.paint_camera_pairs(axes, none)))


def test_the_curves_of_training_have_the_baselines_as_lines():
    metrics = pd.DataFrame({"epoch": [1, 2, 3], "val_mean_average_precision": [0.1, np.nan, 0.4]})
    baselines = {"untrained": {"mean_average_precision": 0.05}}
    figure = plots.painted(lambda axes: plots.paint_training(axes, metrics, baselines))
    np.testing.assert_allclose(figure.axes[0].lines[0].get_data(), [[1, 3], [10, 40]])
    assert "untrained: mAP 5.0 %" in texts_of(figure)


def test_several_svgs_live_on_one_page(embedded):
    pairs = embedded.verify()
    pictures = [
        plots.svg(plots.painted(lambda axes: plots.paint_distances(axes, pairs, dataset="<script>&'\"$x$")), title, "d")
        for title in ("distances <b>", "again")
    ]
    ids = []
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        own = [element.get("id") for element in root.iter() if element.get("id")]
        used = re.findall(r'(?:url\(|href=")#([^")]+)', picture)
        assert used and set(used) == set(own)
        ids += own
        name = "{http://www.w3.org/2000/svg}"
        assert root.get("role") == "img" and root.find(f"{name}desc").text == "d"
        words = ["".join(text.itertext()) for text in root.iter(f"{name}text")]
        assert any("on <script>&'\"$x$" in one for one in words) and "euclidean distance" in words
        assert "currentColor" in picture and plots.INK not in picture and "font-family" not in picture
        assert "<style" not in picture and "DejaVu" not in picture
    assert len(set(ids)) == len(ids)
    assert ElementTree.fromstring(pictures[0]).find(f"{name}title").text == "distances <b>"
    assert pictures[0] == plots.svg(
        plots.painted(lambda axes: plots.paint_distances(axes, pairs, dataset="<script>&'\"$x$")), "distances <b>", "d"
    )


def test_evaluate_retrieval_of_no_camera_ids_is_drawn():
    people = {"query_person_ids": [1], "gallery_person_ids": [2, 1], "ignore": "nothing"}
    result = evaluate_retrieval([[0.0]], [[1.0], [2.0]], **people)
    pairs = verify([[0.0]], [[1.0], [2.0]], **people)
    report = Report(result, {}, {}, verification=pairs)
    figure = plots.painted(lambda axes: plots.paint_roc(axes, report.verification))
    assert "1 genuine pair, 1 impostor pair" in texts_of(figure)
