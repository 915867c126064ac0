"""One suite for all engines of a gallery: what is found, added once, refused and forgotten does not depend on them."""

import datetime

import numpy as np
import pandas as pd
import pytest

from keras_reid.artifacts import read_embeddings
from keras_reid.errors import ReidError
from keras_reid.evaluation import evaluate_retrieval, rerank
from keras_reid.gallery import Added, Gallery
from keras_reid.gallery.engines import open_engine
from tests.gallery.engines import NAMES, address, crowd, nearest_by_loop


@pytest.fixture(params=["lance", "milvus"])
def uri(request, tmp_path) -> str:
    return address(request.param, tmp_path)


@pytest.fixture
def people():
    return crowd()


START = 1_700_000_000
WHERE = {
    "all": ({}, lambda row: True),
    "camera": ({"cameras": "2"}, lambda row: row.camera == "2"),
    "cameras as numbers": ({"cameras": [1, 3]}, lambda row: row.camera in ("1", "3")),
    "not cameras": ({"not_cameras": ["0", "1"]}, lambda row: row.camera not in ("0", "1")),
    "since": ({"since": START + 3600 * 60}, lambda row: row.time is not None and row.time >= START + 3600 * 60),
    "until": ({"until": START + 3600 * 7}, lambda row: row.time is not None and row.time < START + 3600 * 7),
    "identities": ({"identities": NAMES[1:6]}, lambda row: row.identity in NAMES[1:6]),
    "several": (
        {"identities": NAMES[7:], "not_cameras": "3", "since": "2023-11-15", "until": "2023-11-17T00:00:00+00:00"},
        lambda row: (
            row.identity in NAMES[7:]
            and row.camera != "3"
            and row.time is not None
            and 1_700_006_400 <= row.time < 1_700_179_200
        ),
    ),
    "nobody": ({"identities": "Mallory"}, lambda row: False),
}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_search_finds_what_a_loop_finds_under_every_filter(uri, people, metric):
    query = people.embeddings[3] + np.float32(0.001)
    with Gallery(uri, metric=metric) as gallery:
        people.into(gallery)
        for where, keep in WHERE.values():
            expected = nearest_by_loop(people, query, metric, keep)
            for k in (1, 10, 1000):
                result = gallery.search(query, k, **where)
                distances = [distance for distance, _ in expected[:k]]
                np.testing.assert_allclose(result.hits.distance, distances, rtol=1e-9, atol=1e-12)
                assert result.hits["rank"].tolist() == list(range(1, len(distances) + 1))
                assert result.searched == len(expected) == gallery.count(**where)
            found = [int(name.split("/")[1][:-4]) for name in result.hits.source]
            assert sorted(found) == sorted(row for _, row in expected)
            np.testing.assert_array_equal(result.embeddings, people.embeddings[found])
            known = people.known.iloc[found].reset_index(drop=True)
            assert result.hits.identity.tolist() == known.identity.fillna("").tolist()
            assert result.hits.camera.tolist() == known.camera.fillna("").tolist()
            times = pd.to_datetime(known.time.astype("Float64"), unit="s", utc=True)
            assert result.hits.time.isna().tolist() == times.isna().tolist()
            assert (result.hits.time.dropna() == times.dropna()).all()


def test_its_exact_search_scores_as_evaluate_retrieval(uri):
    random = np.random.default_rng(1)
    centers = random.normal(size=(20, 16))
    ids, cameras = np.repeat(np.arange(20), 10), np.tile(np.arange(5), 40)
    gallery_embeddings = (centers[ids] + random.normal(size=(200, 16))).astype(np.float32)
    queries = (centers + random.normal(size=(20, 16))).astype(np.float32)
    sides = {"query_person_ids": np.arange(20), "query_camera_ids": np.arange(20) % 5}
    expected = evaluate_retrieval(
        queries, gallery_embeddings, gallery_person_ids=ids, gallery_camera_ids=cameras, **sides
    )
    precisions = []
    with Gallery(uri) as gallery:
        gallery.add(gallery_embeddings, identity=ids, camera=cameras, source=[f"{n}.jpg" for n in range(200)])
        for person, query in enumerate(queries):
            hits = gallery.search(query, 200).hits
            junk = (hits.identity == str(person)) & (hits.camera == str(person % 5))
            right = (hits[~junk].identity == str(person)).to_numpy()
            ranks = np.flatnonzero(right) + 1
            precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    assert abs(np.mean(precisions) - expected.mean_average_precision) < 1e-9


def test_what_is_added_again_is_there_once(uri, people):
    with Gallery(uri) as gallery:
        assert people.into(gallery, slice(0, 80)) == Added(80, 0, 0)
        assert people.into(gallery) == Added(40, 0, 80)
        people.known.loc[5, "identity"] = "somebody else"
        assert people.into(gallery) == Added(0, 1, 119)
        unnamed = {name: values.tolist() for name, values in people.known.items() if name != "identity"}
        assert gallery.add(people.embeddings, **unnamed) == Added(0, 0, 120)  # nobody loses a name
        assert gallery.add(people.embeddings[[1, 1]], source="twice.jpg") == Added(1, 0, 0)
        assert gallery.add(people.embeddings[:2]) == Added(2, 0, 0)  # told apart by the embeddings alone
        assert gallery.add(people.embeddings[:2]) == Added(0, 0, 2)
        assert gallery.count() == 123 and gallery.count(identities="somebody else") == 1
    with Gallery(uri) as gallery:  # what was written is there
        assert gallery.count() == 123
        with pytest.raises(ReidError, match="entries 0 and 1 have one source"):
            gallery.add(people.embeddings[:2], source="frame.jpg")
        assert gallery.add(people.embeddings[:2], source="frame.jpg", box=[(0, 0, 5, 9), "7,0,5,9"]).new == 2


@pytest.mark.parametrize("left", [(16, "cosine"), (4, "cosine"), (4, "euclidean")])
def test_a_gallery_whose_making_was_killed_is_made(uri, left):
    """Entries without a header: of another width or metric they are made anew, and nothing is in them."""
    engine = open_engine(uri)
    engine.create_entries(*left)
    engine.close()
    with Gallery(uri, metric="euclidean") as gallery:
        assert gallery.add(2 * np.eye(3, 4), source=["a", "b", "c"]).new == 3
        np.testing.assert_allclose(gallery.search(2 * np.eye(4)[0]).hits.distance, [0, 8**0.5, 8**0.5])


def test_no_name_means_more_than_itself(uri, people):
    count = people.known.identity.value_counts()
    with Gallery(uri) as gallery:
        people.into(gallery)
        for name in NAMES:
            assert gallery.count(identities=name) == count[name]
        gallery.add(people.embeddings[: len(NAMES)], camera=list(NAMES), source=list(NAMES))
        assert [gallery.count(cameras=name) for name in NAMES] == [1] * len(NAMES)
        assert gallery.count(not_cameras=NAMES) == 120
        left = gallery.count()
        for name in NAMES[:6]:
            assert gallery.forget(identity=name).entries == count[name]
            left -= count[name]
            assert gallery.count() == left
        assert gallery.count(identities=NAMES) == sum(count[name] for name in NAMES[6:])
        assert [gallery.forget(source=name).entries for name in NAMES[4:6]] == [1, 1]


def test_forgetting_by_each_rule(uri, people):
    with Gallery(uri) as gallery:
        people.into(gallery)
        here = people.known
        first = (here.camera == "1") & here.identity.isin(NAMES[:2])
        assert gallery.forget(camera=1, identity=NAMES[:2]).entries == first.sum() > 0
        here = here[~first]
        early = here.time.map(lambda one: one is not None and one < START + 3600 * 50)
        assert gallery.forget(before=START + 3600 * 50).entries == early.sum()  # those without a time were added today
        here = here[~early]
        assert gallery.forget(source=["day 0/100.jpg", "day 1/1.jpg"]).entries == 1
        assert gallery.forget(identity="Mallory").entries == 0
        assert gallery.count() == len(here) - 1
        tomorrow = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
        assert gallery.forget(before=tomorrow).entries == len(here) - 1
        assert gallery.count() == 0 and len(gallery.search(people.embeddings[0]).hits) == 0
        with pytest.raises(ReidError, match="nothing says whom to forget"):
            gallery.forget()


def test_the_log_tells_what_came_and_went_and_names_nobody(uri, people):
    with Gallery(uri) as gallery:
        people.into(gallery)
        gallery.forget(identity="Alice")
        gallery.compact()
        log = gallery.log()
    assert log.event.tolist() == ["add", "forget", "compact"] and log.by.tolist() == ["", "identity", ""]
    assert log.entries.tolist() == [120, (people.known.identity == "Alice").sum(), 0]
    assert not any(name in log.to_string() for name in ("Alice", "day 0", ".jpg"))


def test_entries_go_after_their_days(uri, people):
    now = datetime.datetime.now(datetime.timezone.utc)
    times = [now - datetime.timedelta(days=days) for days in (0, 20, 29, 32, 40)]
    with Gallery(uri, keep_days=30) as gallery:
        added = gallery.add(people.embeddings[1:7], time=[*times, None], source=[f"{n}.jpg" for n in range(6)])
        assert added.new == 6 and gallery.count() == 4
        assert gallery.log().event.tolist() == ["add", "expire"]
    with Gallery(uri, keep_days=10) as gallery:
        assert gallery.compact().entries == 2 and gallery.header.keep_days == 10
    with Gallery(uri) as gallery:
        assert gallery.compact().entries == 0 and gallery.count() == 2


def test_who_is_this(uri):
    with Gallery(uri) as gallery:
        gallery.add(np.float32([[0, 0], [0, 1], [4, 0]]), identity=["Ann", "Bob", None], source=["a", "b", "c"])
        with pytest.raises(ReidError, match="no threshold"):
            gallery.identify([0.0, 0.0])
        with pytest.raises(ReidError, match="no threshold yet"):
            gallery.calibrate({"threshold": None})
        gallery.calibrate({"threshold": 2.0, "false_positive_rate": 1e-3, "dataset": "is left out"})
        assert gallery.header.calibration == {"threshold": 2.0, "false_positive_rate": 1e-3}
        assert gallery.identify([0.0, 0.75]).identity == "Bob"
        assert gallery.identify([2.0, 0.0]).identity == "Ann"  # at the threshold, though a stranger is as near
        far = gallery.identify([2.1, 0.0])
        assert (far.identity, far.nearest, round(far.distance, 6)) == (None, "Ann", 2.1)
        assert gallery.identify([0.0, 0.75], identities="Ann").identity == "Ann"
        assert gallery.identify([0.0, 0.75], identities="Eve").distance == np.inf


def test_several_photos_of_one_person_are_pooled(uri, people):
    for metric in ("euclidean", "cosine"):
        photos = people.embeddings[[2, 3, 4]] * np.float32([[1], [2], [3]])
        rows = photos / np.linalg.norm(photos, axis=1, keepdims=True) if metric == "cosine" else photos
        with Gallery(f"{uri[:-3]}{metric}{uri[-3:]}", metric=metric) as gallery:
            people.into(gallery)
            hits = gallery.search(photos, 5).hits
            expected = nearest_by_loop(people, rows.mean(axis=0), metric)[:5]
            np.testing.assert_allclose(hits.distance, [distance for distance, _ in expected], rtol=1e-4, atol=1e-7)


def test_re_ranking_reorders_the_nearest(uri, people):
    query = people.embeddings[3] + np.float32(0.001)
    with Gallery(uri) as gallery:
        people.into(gallery)
        plain, again = gallery.search(query, 120), gallery.search(query, 20, rerank=True)
    order = np.argsort(rerank(query[None], plain.embeddings)[0], kind="stable")[:20]
    assert again.reranked and again.hits.key.tolist() == plain.hits.key[order].tolist() != plain.hits.key[:20].tolist()
    assert again.hits.distance.tolist() == plain.hits.distance[order].tolist()


def test_an_export_is_a_file_of_embeddings_that_can_be_added(uri, people, tmp_path):
    with Gallery(uri, network_fingerprint="a" * 32) as gallery:
        people.into(gallery)
        assert gallery.export(tmp_path / "all.parquet") == 120
        named = gallery.export(tmp_path / "named.npz", named=True)
        entries, _ = gallery.entries()
    saved = read_embeddings(tmp_path / "all.parquet")
    assert (saved.metric, saved.network_fingerprint) == ("euclidean", "a" * 32)
    assert list(saved.frame) == ["image_path", "person_id", "camera_id", "box", "crop", "time"]
    rows = [int(name.split("/")[1][:-4]) for name in saved.frame.image_path]
    np.testing.assert_array_equal(saved.embeddings, people.embeddings[rows])
    assert named == people.known.identity.notna().sum() == len(read_embeddings(tmp_path / "named.npz").frame)
    frame = saved.frame
    columns = {"identity": "person_id", "camera": "camera_id", "source": "image_path"}
    known = {name: frame[columns.get(name, name)] for name in ("identity", "camera", "source", "time", "box", "crop")}
    with Gallery(f"{uri[:-3]}copy{uri[-3:]}") as copy:
        assert copy.add(saved.embeddings, **known).new == 120
        left, right = copy.entries()[0].drop(columns="added"), entries.drop(columns="added")
        stripped = right.assign(identity=right.identity.str.strip())
        pd.testing.assert_frame_equal(left, stripped)


def test_another_network_width_or_metric_is_refused(uri, people):
    with Gallery(uri, network_fingerprint="a" * 32, metric="cosine") as gallery:
        people.into(gallery)
        with pytest.raises(ReidError, match="width 16, these are 8 wide"):
            gallery.add(people.embeddings[:, :8])
        with pytest.raises(ReidError, match="width 16, these are 8 wide"):
            gallery.search(people.embeddings[0, :8])
        for images, what in ((np.nan, "NaN or inf"), (np.inf, "NaN or inf"), (0, "length zero")):
            for call in (gallery.add, gallery.search):
                with pytest.raises(ReidError, match=what):
                    call(np.full((2, 16), images, np.float32))
        with pytest.raises(ReidError, match="need an artifact"):
            gallery.search(np.zeros((64, 32, 3), np.uint8))
        assert gallery.count() == 120
    with pytest.raises(ReidError, match="another network.*gallery reembed"):
        Gallery(uri, network_fingerprint="b" * 32)
    with pytest.raises(ReidError, match="compared by cosine"):
        Gallery(uri, metric="euclidean")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"since": "soon"}, "since='soon' is no time"),
        ({"until": ""}, "expected a time"),
        ({"cameras": []}, "expected one or more names"),
        ({"identities": [" "]}, "none of them empty"),
        ({"k": 0}, "k=0: expected a whole number"),
        ({"k": 1.5}, "k=1.5"),
    ],
)
def test_a_wrong_value_is_named(uri, people, arguments, message):
    with Gallery(uri) as gallery:
        gallery.add(people.embeddings[:2])
        with pytest.raises(ReidError, match=message):
            gallery.search(people.embeddings[0], **arguments)


def test_nothing_is_made_by_looking(uri, people, tmp_path):
    with Gallery(uri) as gallery:
        assert gallery.count() == 0 and gallery.known_keys(["x"]) == {}
        for call in (
            lambda: gallery.search(people.embeddings[0]),
            lambda: gallery.forget(identity="a"),
            gallery.compact,
        ):
            with pytest.raises(ReidError, match="there is no gallery yet"):
                call()
    assert not [path for path in tmp_path.iterdir() if not path.name.endswith(".lock")]
