"""The catalog's checks on hand-made catalogs."""

import pandas as pd
import pytest

from keras_reid.data.checks.catalog_checks import check_catalog
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
