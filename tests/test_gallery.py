"""`python -m keras_reid.gallery` and `search`: people enrolled from pictures and files, found, and forgotten."""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import keras_reid.artifacts
from keras_reid import search
from keras_reid.__main__ import entry_point
from keras_reid.artifacts import describe_embedder, open_artifact, read_embeddings, update_metadata, write_embeddings
from keras_reid.artifacts.formats.search import read_gallery
from keras_reid.errors import ReidError
from keras_reid.gallery import Gallery
from keras_reid.keras2 import tf
from keras_reid.models import save_keras
from tests.artifacts.formats.versions import write_version
from tests.conftest import tiny_embedder

pytest.importorskip("lancedb", reason="the extra gallery is not installed")
gallery = entry_point("gallery")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    embedder = tiny_embedder()
    return save_keras(embedder, tmp_path_factory.mktemp("a") / "tiny.keras", metadata=describe_embedder(embedder))


@pytest.fixture
def photos(tmp_path) -> Path:
    """Two photos of each of three people, in folders named after them."""
    for number, name in enumerate(["Ann", "O'Brien", "Zoë 😀"]):
        (tmp_path / "staff" / name).mkdir(parents=True)
        for photo in range(2):
            pixels = np.random.default_rng(10 * number + photo).integers(0, 256, (20 + photo, 12, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "staff" / name / f"{photo}.png")
    return tmp_path / "staff"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs an action on the gallery `people`, which must end well; returns what it printed."""
    monkeypatch.chdir(tmp_path)
    # A network is read from its file in seconds: once is enough.
    monkeypatch.setattr(keras_reid.artifacts, "open_artifact", functools.lru_cache(open_artifact), raising=False)

    def call(main, *arguments, uri="people") -> str:
        code = main([str(one) for one in ("command", *arguments, f"--gallery={uri}")])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out

    return call


def test_an_entrance(artifact, photos, run, tmp_path, capsys):
    add = ("add", f"--artifact={artifact}", f"--images={photos}", "--identity_from_folder", "--camera=badge")
    assert run(gallery.main, *add) == "6 entries added, 0 were there; 6 in all\n"
    assert run(gallery.main, *add).splitlines()[0] == "6 of 6 images are in the gallery already"
    Image.open(photos / "Ann" / "0.png").resize((30, 60)).save(photos / "Ann" / "2.png")
    assert run(gallery.main, *add).endswith("1 entries added, 6 were there; 7 in all\n")

    photo = photos / "O'Brien" / "1.png"
    output = run(search.main, f"--artifact={artifact}", photo, "--top=3", "--json=found.json")
    assert "3 nearest of 7 entries by euclidean distance" in output and "no threshold yet" in output
    found = json.loads(Path("found.json").read_text())
    opened = open_artifact(artifact)
    pixels = [np.asarray(Image.open(path)) for path in (photo, *(hit["source"] for hit in found["hits"]))]
    query, *hits = (opened.embed([one]) for one in pixels)
    np.testing.assert_allclose(
        [hit["distance"] for hit in found["hits"]], [opened.distance(query, hit)[0] for hit in hits], atol=1e-6
    )
    assert found["hits"][0]["identity"] == "O'Brien" and found["hits"][0]["distance"] < 1e-6
    assert found["identification"] is None and found["searched"] == 7

    distances = {"distance": found["hits"][1]["distance"]}
    calibrated = Path("calibrated.keras")
    shutil.copy(artifact, calibrated)
    update_metadata(calibrated, {"threshold": distances["distance"] / 2, "false_positive_rate": 1e-3})
    assert "(false_positive_rate 0.001)" in run(gallery.main, "calibrate", f"--artifact={calibrated}")
    output = run(search.main, f"--artifact={artifact}", photo, "--not_camera=door", "--rerank", "--json=found.json")
    assert "O'Brien: the nearest entry is at" in output and "never a proof of identity" in output
    assert json.loads(Path("found.json").read_text())["identification"]["identity"] == "O'Brien"
    (photos / "Ann" / "2.png").unlink()
    others = ("--identity=Ann", "--identity=Zoë 😀", "--json=found.json", "--report=found.html")
    output = run(search.main, f"--artifact={artifact}", photo, *others)
    assert "unknown: the nearest, " in output and "5 nearest of 5 entries" in output and "drawn found.html" in output
    page = Path("found.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 1 + 4 and page.count("photo is missing") == 2  # for the eye and for the ear
    assert "identity <bdi>Zoë 😀</bdi>" in page and page.count("too far") == 5 and "<script" not in page

    assert "2 entries forgotten; proven: none of 2" in run(gallery.main, "forget", "--identity=O'Brien")
    info = run(gallery.main, "info")
    assert "identities   2, 0 unnamed" in info and "forget   2 entries by identity" in info and "Ann" not in info
    assert "5 entries written" in run(gallery.main, "export", "--output=all.parquet")
    assert (
        run(gallery.main, "add", "--embeddings=all.parquet", uri="copy") == "5 entries added, 0 were there; 5 in all\n"
    )
    assert run(gallery.main, "compact", "--keep_days=30").startswith("compacted from ")


def test_a_months_recordings_from_a_csv(artifact, photos, run):
    crops = sorted(photos.rglob("*.png"))
    frame = pd.DataFrame({"image_path": crops, "source": "night.mp4", "camera_id": ["1", "2", "1", "2", "1", ""]})
    frame["time"] = [f"2026-05-0{day}T12:00:00+02:00" for day in (1, 1, 2, 3, 4, 5)]
    frame["box"] = [f"{10 * n},0,12,20" for n in range(6)]
    frame.to_csv("crops.csv", index=False)
    run(gallery.main, "add", f"--artifact={artifact}", "--images=crops.csv")
    with Gallery("people") as people:
        entries, _ = people.entries()
    entries = entries.sort_values("crop")
    assert entries.crop.tolist() == list(map(str, crops)) and set(entries.source) == {"night.mp4"}
    assert entries.camera.tolist() == ["1", "2", "1", "2", "1", ""] and entries.box.tolist() == frame.box.tolist()
    assert entries.time.iloc[0] == pd.Timestamp("2026-05-01T10:00:00Z")
    found = ("--camera=1", "--since=2026-05-02", "--until=2026-05-04", "--json=found.json")
    output = run(search.main, f"--artifact={artifact}", crops[2], crops[3], *found)
    assert "1 nearest of 1 entries" in output and "2026-05-02T10:00:00+00:00" in output
    assert "3 entries forgotten" in run(gallery.main, "forget", "--before=2026-05-03")


def test_another_network_reembeds_the_pictures(artifact, photos, run, refused):
    run(gallery.main, "add", f"--artifact={artifact}", f"--images={photos}", "--identity_from_folder")
    other = tiny_embedder(embedding_size=6)
    save_keras(other, Path("other.keras"), metadata=describe_embedder(other, metric="cosine"))
    arguments = ["--artifact=other.keras", "--gallery=people"]
    for action in (["search", *arguments, photos / "Ann" / "0.png"],):
        assert "gallery reembed" in refused(search.main, action)
    assert "gallery reembed" in refused(gallery.main, ["gallery", "add", *arguments, f"--images={photos}"])
    for added in ("6 entries added, 0 were there", "0 entries added, 6 were there"):
        assert added in run(gallery.main, "reembed", "--artifact=other.keras", "--output=new")
    with Gallery("people") as old, Gallery("new") as new:
        assert (new.header.metric, new.header.embedding_size) == ("cosine", 6)
        assert set(old.entries()[0].key) == set(new.entries()[0].key)
        assert new.count(identities="Ann") == 2


def test_people_are_cut_out_of_the_photo_of_a_box(artifact, run, refused):
    """Two people of one frame, one of them partly beyond its edge: as if each had been cut out by NumPy."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save("frame.png")
    frame = pd.DataFrame({"image_path": "frame.png", "box": ["10,5,20.4,30", "70,-3,20,40", ""]})
    frame.to_csv("frame.csv", index=False)
    expected = open_artifact(artifact).embed([pixels[5:35, 10:30], pixels[:37, 70:], pixels])
    for arguments in (("add", "--images=frame.csv"), ("reembed", "--output=again")):
        run(gallery.main, *arguments, f"--artifact={artifact}")
    for name in ("people", "again"):
        with Gallery(name) as people:
            entries, embeddings = people.entries(embeddings=True)
        rows = [entries.box.tolist().index(box) for box in ("10,5,20.4,30", "70,-3,20,40", "")]
        np.testing.assert_allclose(embeddings[rows], expected, rtol=1e-4, atol=1e-5)
    frame.assign(box=["80,0,5,5", "0,0,9,9", ""]).to_csv("frame.csv", index=False)
    add = ["add", f"--artifact={artifact}", "--images=frame.csv"]
    line = refused(gallery.main, ["gallery", *add, "--gallery=other"])
    assert "box=80,0,5,5 lies outside of " in line and "which is 80 x 60" in line and "--on_error=skip" in line
    assert "2 entries added" in run(gallery.main, *add, "--on_error=skip", uri="other")


def test_test_time_augmentation_stays_with_the_gallery(artifact, photos, run, refused):
    add, flip = ("add", f"--artifact={artifact}", f"--images={photos}"), "--test_time_augmentation=flip"
    run(gallery.main, *add, flip)
    photo = photos / "Ann" / "0.png"
    expected = open_artifact(artifact).embed(np.asarray(Image.open(photo))[None], "flip")[0]
    with Gallery("people") as people:
        assert people.search(expected, 1).hits.distance[0] < 1e-6
    assert "6 images are in the gallery already" in run(gallery.main, *add)
    run(search.main, f"--artifact={artifact}", photo, "--top=1", "--json=found.json")
    assert json.loads(Path("found.json").read_text())["hits"][0]["distance"] < 1e-6
    for main, command in ((gallery.main, add), (search.main, (f"--artifact={artifact}", photo))):
        line = refused(main, ["command", *command, "--gallery=people", "--test_time_augmentation=none"])
        assert "was embedded with --test_time_augmentation=flip, not none" in line and "gallery reembed" in line
    assert "flip (test-time augmentation)" in run(gallery.main, "info")
    assert "a SavedModel's search embeds its images without" in run(gallery.main, "export", "--output=all.npz")
    run(gallery.main, "add", "--embeddings=all.npz", flip, uri="copy")
    run(gallery.main, "reembed", f"--artifact={artifact}", "--output=plain", "--test_time_augmentation=none")
    run(gallery.main, "reembed", f"--artifact={artifact}", "--output=flipped")
    with Gallery("copy") as copy, Gallery("plain") as plain, Gallery("flipped") as flipped:
        held = [one.header.test_time_augmentation for one in (copy, plain, flipped)]
        assert held == ["flip", "none", "flip"]
        with pytest.raises(ReidError, match="no threshold yet for test_time_augmentation=flip, but one for none"):
            copy.calibrate({"threshold": 1.0, "threshold_views": "none"})


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_savedmodel_answers_a_search_of_its_export_as_the_gallery_does(photos, run, tmp_path, metric):
    embedder = tiny_embedder()
    metadata = describe_embedder(embedder, metric=metric)
    save_keras(embedder, "tiny.keras", metadata=metadata)
    add = ("add", "--artifact=tiny.keras", f"--images={photos}")
    run(gallery.main, *add, "--identity_from_folder")
    (photos / "stranger.png").write_bytes((photos / "Ann" / "0.png").read_bytes())
    run(gallery.main, *add)
    about = {"metric": metric, "embedding_size": 8, "network_fingerprint": metadata["network_fingerprint"]}
    run(gallery.main, "export", "--output=all.parquet")
    with pytest.raises(ReidError, match="names no person_id in some rows.*gallery export and named"):
        read_gallery("all.parquet", **about)
    run(gallery.main, "export", "--named", "--output=named.parquet")
    write_version(embedder, tmp_path / "saved", metadata, gallery=read_gallery("named.parquet", **about), neighbors=4)
    loaded = tf.saved_model.load(str(tmp_path / "saved" / "1"))
    paths = read_embeddings("named.parquet").frame.image_path
    with Gallery("people", artifact=open_artifact("tiny.keras")) as people:
        for photo in sorted(photos.rglob("*.png")):
            pixels = np.asarray(Image.open(photo))[None]
            answer = {name: value[0] for name, value in loaded.signatures["search"](tf.constant(pixels)).items()}
            hits = people.search(pixels, 4, identities=["Ann", "O'Brien", "Zoë 😀"]).hits
            assert [one.decode() for one in answer["ids"].numpy()] == hits.identity.tolist()
            assert paths[answer["rows"].numpy()].tolist() == hits.source.tolist()
            np.testing.assert_allclose(answer["distances"], hits.distance, rtol=1e-3, atol=2e-3)


def test_who_writes_where_no_lock_is_is_told_what_holds(run, monkeypatch):
    from keras_reid.gallery.lance import LanceEngine

    write_embeddings("a.npz", pd.DataFrame({"image_path": ["a", "b"]}), np.eye(2))
    assert "no lock" not in run(gallery.main, "add", "--embeddings=a.npz")
    monkeypatch.setattr(LanceEngine, "lock_file", None)
    for action in (("add", "--embeddings=a.npz"), ("forget", "--source=a"), ("compact",)):
        assert "no lock keeps other writers out: what two add at once is all kept" in run(gallery.main, *action)


def test_images_that_cannot_be_read(artifact, photos, run, refused):
    (photos / "Ann" / "3.png").write_bytes(b"no image")
    arguments = ["add", f"--artifact={artifact}", f"--images={photos}"]
    error = refused(gallery.main, ["gallery", *arguments, "--gallery=people"])
    assert "3.png" in error and "--on_error=skip" in error
    output = run(gallery.main, *arguments, "--on_error=skip")
    assert "6 entries added" in output and "1 images cannot be read and are left out:\n" in output and "3.png" in output


def test_saved_embeddings_name_people_and_network(run, refused):
    frame = pd.DataFrame({"image_path": ["a.jpg", "b.jpg"], "person_id": [7, 8], "camera_id": [1, None]})
    about = {"metric": "cosine", "network_fingerprint": "a" * 32}
    write_embeddings("saved.npz", frame, np.eye(2, 4), **about)
    run(gallery.main, "add", "--embeddings=saved.npz", "--keep_days=30")
    with Gallery("people") as people:
        assert (people.header.metric, people.header.network_fingerprint, people.header.keep_days) == (
            *about.values(),
            30,
        )
        assert people.count(identities=8, not_cameras=1) == 1
        people.export("again.npz")
    again = read_embeddings("again.npz").frame.sort_values("image_path")
    assert again.person_id.tolist() == ["7", "8"] or again.person_id.tolist() == [7, 8]
    write_embeddings("other.npz", frame, np.eye(2, 4), metric="cosine", network_fingerprint="b" * 32)
    assert "another network" in refused(gallery.main, ["gallery", "add", "--gallery=people", "--embeddings=other.npz"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one action of add, forget"),
        (["remove"], "got remove"),
        (["info"], "--gallery is not set"),
        (["info", "--gallery=nothing"], "--gallery=nothing: there is no gallery yet"),
        (
            ["forget", "--gallery=nothing", "--images=x"],
            "--images says nothing to forget: expected --gallery, --identity",
        ),
        (["forget", "--gallery=nothing"], "nothing says whom to forget: expected identity"),
        (["forget", "--gallery=nothing", "--before=yesterday"], "before='yesterday' is no time"),
        (["add", "--gallery=nothing"], "expected --images with --artifact, or --embeddings"),
        (["add", "--gallery=nothing", "--images=."], "--artifact is not set"),
        (["add", "--gallery=nothing", "--embeddings=no.npz"], "no file of embeddings at 'no.npz'"),
        (["export", "--gallery=nothing", "--output=x.txt"], "is no file of embeddings"),
        (["compact", "--gallery=nothing", "--keep_days=0"], "keep_days=0"),
    ],
)
def test_a_wrong_command_is_one_line(arguments, message, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused(gallery.main, ["gallery", *arguments])
    assert not list(tmp_path.iterdir())


def test_a_search_needs_photos_and_a_gallery(artifact, photos, refused, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    arguments = ["search", f"--artifact={artifact}", "--gallery=people"]
    assert "expected one or more photos" in refused(search.main, arguments)
    assert "'no.jpg' does not exist" in refused(search.main, [*arguments, "no.jpg"])
    assert "there is no gallery yet" in refused(search.main, [*arguments, photos / "Ann" / "0.png"])
