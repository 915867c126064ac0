"""A dataset from linked tracks: whose crops are where, and what prepare says."""

import pandas as pd
import pytest

from keras_reid import options, prepare
from keras_reid.data import read_dataset
from keras_reid.tracks.linking import link
from keras_reid.tracks.tracks_file import write_tracks
from tests.tracks.planted import planted, tracks_of, with_crops


def run(*arguments):
    return prepare.command.run_command(prepare.prepare, options.prepare_flags(), ["prepare", *arguments])


@pytest.fixture
def folder(tmp_path):
    """A folder of linked tracks: people of several cameras, one of one camera, and a lone track; a crop is missing."""
    tracks, persons = planted(people=5, visits=3, cameras=3, noise=0.01, seed=1)
    frame = pd.concat(
        [tracks.frame[["camera", "start", "end"]], pd.DataFrame(LATER, columns=["camera", "start", "end"])]
    )
    looks = [*tracks.embeddings.tolist(), [50.0] * 8, [50.0] * 8, [-50.0] * 8]
    tracks = with_crops(tracks_of(frame.values.tolist(), looks), tmp_path / "tracks", [*persons, 5, 5, 6], crops=3)
    links = link(tracks, threshold=1.0)
    assert sorted(links.links.groupby("identity").size()) == [2, 3, 3, 3, 3, 3]
    write_tracks(tmp_path / "tracks" / "tracks.parquet", tracks)
    links.links.to_csv(tmp_path / "tracks" / "links.csv", index=False)
    return tmp_path / "tracks"


LATER = [("camera 0", 500, 505), ("camera 0", 600, 605), ("camera 1", 700, 705)]


def test_people_of_several_cameras_are_split_into_training_and_test(folder, tmp_path, capsys):
    assert run(f"--from_tracks={folder}", f"--data_dir={tmp_path / 'people'}") == 0
    said = capsys.readouterr().out
    assert "left out 3 crops of people of one track\nleft out 1 crops that are missing\n" in said
    assert f"ready: --dataset=csv --data_dir={tmp_path / 'people' / 'people.csv'}" in said
    catalog = read_dataset("csv", tmp_path / "people" / "people.csv")
    assert len(catalog) == 17 * 3 - 1 and catalog.tracklet_id.nunique() == 17
    train, test = (catalog[catalog.split.isin(splits)] for splits in (["train"], ["query", "gallery"]))
    assert set(train.person_id).isdisjoint(test.person_id) and (
        train.person_id.nunique(),
        test.person_id.nunique(),
    ) == (4, 2)
    for _, one in test.groupby("person_id"):
        assert one.camera_id.nunique() == 3
        assert (one.groupby("camera_id").split.agg(lambda splits: (splits == "query").sum()) == 1).all()
    # Crop 0 of a track that begins with frame f: file names count frames, so that times lie within the track.
    assert catalog.time.between(0, 605).all()
    assert run(f"--from_tracks={folder}", f"--data_dir={tmp_path / 'people'}") == 1
    assert "is not empty" in capsys.readouterr().err


def test_what_cannot_become_a_dataset_is_told_in_one_line(folder, tmp_path, capsys):
    new = f"--data_dir={tmp_path / 'new'}"
    for arguments, words in (
        ([f"--from_tracks={tmp_path / 'nothing'}", new], "no tracks at"),
        ([f"--from_tracks={folder}"], "--data_dir is not set"),
        ([f"--from_tracks={folder}", new, "--output=x.csv"], "leave --output out"),
        (["market1501", f"--from_tracks={folder}", new], "leave market1501 out"),
    ):
        assert run(*arguments) == 1
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
    links = pd.read_csv(folder / "links.csv")
    for rows, words in (
        (links[links.identity == 6], "0 people were seen by several cameras, 1 have several tracks"),
        (None, "link the tracks first"),
    ):
        if rows is None:
            (folder / "links.csv").unlink()
        else:
            rows.to_csv(folder / "links.csv", index=False)
        assert run(f"--from_tracks={folder}", new) == 1
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1 and not (tmp_path / "new").exists()
    links.assign(track="99").to_csv(folder / "links.csv", index=False)
    assert run(f"--from_tracks={folder}", new) == 1 and "link the tracks again" in capsys.readouterr().err
