"""The catalog's checks on hand-made catalogs."""

import pandas as pd
import pytest

from keras_reid.data.checks.catalog_checks import check_catalog, names_that_look_alike
from keras_reid.data.checks.findings import Finding, exit_code, join_names, rank, warnings_or_refusal
from keras_reid.errors import ReidError


def catalog(*rows: tuple) -> pd.DataFrame:
    """Rows of (person, camera, split)."""
    frame = pd.DataFrame(rows, columns=["person_id", "camera_id", "split"])
    return frame.assign(camera_id=frame.camera_id.astype("Int64"), image_path=[f"{n}.jpg" for n in range(len(frame))])


# Two people train, 4 images each; one is searched, another is there to be taken for it.
CLEAN = [(person, camera, "train") for person in (1, 2) for camera in (1, 1, 2, 2)]
CLEAN += [(3, 1, "query"), (3, 2, "gallery"), (4, 2, "gallery"), (0, 1, "gallery"), (-1, 1, "gallery")]


def kinds(frame: pd.DataFrame, **rules) -> dict:
    return {finding.kind: finding.level for finding in check_catalog(frame, **rules)}


def test_a_clean_catalog():
    assert kinds(catalog(*CLEAN)) == {}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([(5, 1, "train")], {"single_image": "warning"}),
        ([(5, 1, "train"), (5, 2, "train")], {"few_images": "warning"}),
        ([(0, 1, "train")], {"junk_outside_gallery": "warning"}),
        ([(-1, 1, "query")], {"junk_outside_gallery": "warning", "no_match": "warning"}),
        ([(1, 1, "gallery")], {"shared_identities": "warning"}),
        ([(1, 1, "multi_query")], {}),
        ([(4, 2, "query")], {"no_match": "warning"}),
        ([(1, None, "train")], {"missing_cameras": "note"}),
        ([(3, None, "gallery")], {"missing_cameras": "error"}),
    ],
)
def test_each_fault_is_found_and_nothing_else(more, expected):
    assert kinds(catalog(*CLEAN, *more)) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row for row in CLEAN if row[2] != "query"], {"empty_split": "error"}),
        ([row for row in CLEAN if row[2] != "train"], {"empty_split": "error"}),
        ([row for row in CLEAN if row[0] != 2], {"one_identity": "error"}),
        ([*CLEAN[0:8:4], *CLEAN[8:]], {"single_image": "error"}),
        ([(person, 7, split) for person, _, split in CLEAN], {"one_camera": "error"}),
        ([row for row in CLEAN if row[:2] != (3, 2)], {"no_match": "error"}),
    ],
)
def test_what_could_not_work_is_an_error(rows, expected):
    findings = check_catalog(catalog(*rows))
    assert {finding.kind: finding.level for finding in findings} == expected
    with pytest.raises(ReidError, match=findings[0].message[:20]):
        warnings_or_refusal(findings)


def test_ways_out_of_one_camera_and_of_none_are_ways_out():
    one = catalog(*((person, 7, split) for person, _, split in CLEAN))
    none = catalog(*((person, None, split) for person, _, split in CLEAN))
    assert kinds(one, ignore="nothing") == {}
    assert kinds(none, ignore="nothing") == kinds(none, missing_cameras="distinct") == {"missing_cameras": "note"}


def test_a_file_listed_twice_is_named():
    frame = catalog(*CLEAN)
    frame.loc[1, "image_path"] = "0.jpg"
    (finding,) = check_catalog(frame)
    assert (finding.kind, finding.names) == ("listed_twice", ["0.jpg"])


def test_few_identities_with_few_images_are_a_note():
    many = [(person, camera, "train") for person in range(10, 30) for camera in (1, 1, 2, 2)]
    assert kinds(catalog(*CLEAN, *many, (5, 1, "train"), (5, 2, "train"))) == {"few_images": "note"}
    assert kinds(catalog(*CLEAN, *many), images_per_identity=5) == {"few_images": "warning"}


def named(frame: pd.DataFrame, people=str, cameras=str) -> pd.DataFrame:
    names = {"person_id_name": frame.person_id.map(people), "camera_id_name": frame.camera_id.map(cameras)}
    return frame.assign(**{column: values.astype("string") for column, values in names.items()})


@pytest.mark.parametrize("rows", [
    [*CLEAN, (5, 1, "train")],
    [*CLEAN, (5, 1, "train"), (5, 1, "train")],
    [*CLEAN, (4, 2, "query")],
    [*CLEAN, (1, 1, "gallery")],
    [row for row in CLEAN if row[0] != 2],
    [(person, 7, split) for person, _, split in CLEAN],
])  # fmt: skip
def test_findings_name_people_and_cameras_as_they_were_named(rows):
    """The same findings as with codes, each code n replaced by the name <n>."""
    coded, by_name = (
        check_catalog(frame) for frame in (catalog(*rows), named(catalog(*rows), "<{}>".format, "<{}>".format))
    )
    assert len(by_name) == len(coded) == 1
    assert list(by_name[0].names) == [f"<{name}>" for name in coded[0].names]
    assert by_name[0].message == coded[0].message.replace("have 7,", "have <7>,")


def test_names_that_look_alike_are_named_and_nothing_else():
    people = {1: "anna", 2: "Anna", 3: "007", 4: "7", 0: "bob", -1: "per 1"}.get
    cameras = {1: "caf\u00e9", 2: "cafe\u0301"}.get
    found = {finding.kind: finding for finding in check_catalog(named(catalog(*CLEAN), people, cameras))}
    assert set(found) == {"look_alike_people", "look_alike_cameras"}
    assert {finding.level for finding in found.values()} == {"warning"}
    assert found["look_alike_people"].names == [("007", "7"), ("Anna", "anna")]
    assert found["look_alike_cameras"].names == [("cafe\u0301", "caf\u00e9")]
    assert ": 007 = 7, Anna = anna. " in found["look_alike_people"].to_line()
    assert ": 'cafe\\u0301' = 'caf\\xe9'. " in found["look_alike_cameras"].to_line()
    (line,) = warnings_or_refusal([found["look_alike_people"]])
    assert line.startswith("warning: people whose names differ in case, Unicode form, ")


def test_tracks_that_look_alike_are_named_and_numbers_are_what_they_are():
    tracks = [f"T{n}" for n in range(len(CLEAN) - 1)]
    (finding,) = check_catalog(catalog(*CLEAN).assign(tracklet_id=[*tracks, "t01"]))
    assert (finding.kind, finding.names) == ("look_alike_tracks", [("T1", "t01")])
    assert kinds(catalog(*CLEAN).assign(tracklet_id=range(len(CLEAN)))) == {}
    # One side of saved embeddings may hold numbers, and the other text.
    frame = catalog(*CLEAN).assign(person_id_name=pd.Series([1, 2, "01", *range(3, len(CLEAN))], dtype=object))
    assert [finding.names for finding in names_that_look_alike(frame)] == [[("01", "1")]]


def test_names_of_two_datasets_may_look_alike():
    frame = named(catalog(*CLEAN), {1: "anna", 2: "Anna"}.get)
    assert kinds(frame.assign(dataset_id=frame.person_id)) == {}
    assert kinds(frame.assign(dataset_id=1)) == {"look_alike_people": "warning"}


def test_findings_are_ranked_and_the_worst_is_the_exit_code():
    findings = [Finding(kind, level, "", "", share=share) for kind, level, share in (
        ("a", "note", 1), ("b", "warning", 0.1), ("c", "error", 0.1), ("d", "warning", 0.2)
    )]  # fmt: skip
    assert [finding.kind for finding in rank(findings)] == ["c", "d", "b", "a"]
    assert [exit_code(findings[:count]) for count in range(4)] == [0, 0, 2, 3]


def test_names_are_cut_below_the_folder():
    names = ["/data/a.jpg", ("/data/b.jpg", "/other/c.jpg"), "5", "6"]
    assert join_names(names, 3, "/data") == "a.jpg, b.jpg = /other/c.jpg, 5 and 1 more"
    assert join_names(names[:1], 3) == "/data/a.jpg"
