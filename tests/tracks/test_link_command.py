"""`tracks --link`: from a filmed scene to global ids, a page and scores, and bad input in one line."""

import numpy as np
import pandas as pd
import pytest

from keras_reid import options
from keras_reid.artifacts import Artifact
from keras_reid.tracks import __main__ as tracks_command
from keras_reid.tracks import read_tracks
from keras_reid.tracks.boxes import read_boxes
from keras_reid.tracks.recordings import read_recordings


def colors(threshold):
    """An artifact whose embedding is the mean color of a body's upper and of its lower half."""
    metadata = {"embedding_size": 6, "image_size": [64, 32], "metric": "euclidean", "network_fingerprint": "c" * 32}
    metadata |= {"threshold": threshold, "false_positive_rate": 1e-3}

    def embed(images):
        body = images[:, 8:56, 10:22].astype(np.float32)
        return np.concatenate([body[:, :24].mean(axis=(1, 2)), body[:, 24:].mean(axis=(1, 2))], axis=1)

    return Artifact("colors", "reference", metadata, embed)


def run(*arguments):
    return tracks_command.command.run_command(tracks_command.tracks, options.tracks_flags(), ["tracks", *arguments])


@pytest.fixture
def command(monkeypatch, scene, tmp_path):
    """Runs the command on the scene, with or without a threshold."""
    monkeypatch.setattr(tracks_command, "check_artifact", lambda flags: None)

    def with_artifact(*arguments, threshold=60.0):
        monkeypatch.setattr("keras_reid.artifacts.open_artifact", lambda path: colors(threshold))
        files = (f"--recordings={scene / 'recordings.csv'}", f"--output={tmp_path / 'out'}")
        return run("--artifact=colors", *files, *arguments)

    return with_artifact


def test_a_scene_becomes_people(command, scene, tmp_path, capsys):
    pytest.importorskip("motmetrics", reason="NOTICE: no motmetrics here, IDF1 was not counted")
    assert command("--link", "--truth=gt.txt") == 0
    said, out = capsys.readouterr().out, tmp_path / "out"
    tracks, links = read_tracks(out), pd.read_csv(out / "links.csv", dtype={"track": str})
    assert f"{len(tracks)} tracks are" in said and "each camera's own ids" in said and "oracle" in said
    scores = pd.read_csv(out / "scores.csv", index_col="linker")
    assert scores.idf1["each camera's own ids"] < scores.idf1["oracle: knows the truth"] <= 1
    identities = pd.read_csv(out / "identities.csv")
    assert list(identities) == ["identity", "camera", "first", "last", "seconds", "tracks"]
    assert identities.tracks.sum() == len(tracks) and len(links) >= 4
    assert (out / "tracks.html").read_text(encoding="utf-8").count('class="person"') == links.identity.nunique()
    people = dict(zip(zip(links.camera.astype(str), links.track), links.identity))
    for recording in read_recordings(scene / "recordings.csv"):
        boxes = read_boxes(out / "global" / f"{recording.camera}.txt")
        shown = recording.boxes[recording.boxes.track.isin(tracks.frame.track[tracks.frame.camera == recording.camera])]
        assert len(boxes) == len(shown)
        for track, part in shown.groupby("track"):
            ids = boxes[(boxes.frame.isin(part.frame)) & boxes.x.round(1).isin(part.x.round(1))].track.unique()
            if (recording.camera, track) in people:
                assert str(people[recording.camera, track]) in ids

    # What the page exports parts two tracks; online and learned travel times go through, too.
    first = links.iloc[0]
    crops = tracks.frame.set_index(["camera", "track"]).crops
    pair = [crops[first.camera, first.track][0], crops[first.other_camera, str(first.other_track)][0]]
    pd.DataFrame([[*pair, "not the same"]], columns=["image_path", "other_path", "verdict"]).to_csv(
        tmp_path / "said.csv", index=False
    )
    assert command("--link", f"--corrections={tmp_path / 'said.csv'}") == 0
    assert "0 pairs of tracks are the same person, 1 are not" in capsys.readouterr().out
    again = pd.read_csv(out / "links.csv", dtype=str).set_index(["camera", "track"]).identity
    names = [(str(first.camera), first.track), (str(first.other_camera), str(first.other_track))]
    assert again.get(names[0], "alone") != again.get(names[1], "alone too")
    assert command("--link", "--travel_times=learn") == 0 and "learned travel times" in capsys.readouterr().out
    times = tmp_path / "times.csv"
    times.write_text("camera_a,camera_b,minimum_seconds,maximum_seconds\nc1,c2,0,60\nc1,roof,1,2\n")
    assert command("--link", "--online", f"--travel_times={times}") == 0
    assert "travel times name 1 cameras without a recording: roof" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--online"], "--online is for --link: add it"),
        (["--link", "--online", "--travel_times=learn"], "knows the future"),
        (["--link", "--online", "--corrections=said.csv"], "--corrections are for links of the whole recording"),
        (["--link", "--overlapping=door"], "expected two cameras"),
        (["--link", "--overlapping=c1,door"], "--overlapping names door: the cameras are c1, c2."),
        (["--link", "--travel_times=no.csv"], "'no.csv'"),
        (["--link", "--corrections=no.csv"], "'no.csv'"),
        (["--link", "--truth=no.txt"], "no.txt"),
    ],
)
def test_flags_that_do_not_fit_are_told_before_anything_is_embedded(command, arguments, words, tmp_path, capsys):
    assert command(*arguments) == 1
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_without_a_threshold_nothing_is_embedded(command, tmp_path, capsys):
    assert command("--link", threshold=None) == 1
    assert "no threshold is known" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert command(threshold=None) == 0 and command("--link", "--threshold=60", threshold=None) == 0
