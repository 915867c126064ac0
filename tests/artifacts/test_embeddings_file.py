"""Saved embeddings: what comes back is what was written, gaps included; other people's files; damaged ones named."""

import sys
import zipfile

import numpy as np
import pandas as pd
import pytest

from keras_reid.artifacts import read_embeddings, write_embeddings
from keras_reid.errors import ReidError


def usable_pyarrow() -> bool:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:  # or one that needs another NumPy
        return False
    return True


needs_pyarrow = pytest.mark.skipif(not usable_pyarrow(), reason="pyarrow cannot be imported")
BINARY = [".npz", pytest.param(".parquet", marks=needs_pyarrow)]
EVERY = [*BINARY, ".csv"]
# Awkward float32 numbers: denormal, -0, largest, the one after 1, a third.
AWKWARD = np.array([[1e-45, -0.0, 3.4028235e38, 1.0000001, 1 / 3]], np.float32)


def known() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_path": ["a.jpg", "Zoë, 2.jpg", "c.jpg"],
            "person_id": [7, -1, 1501],
            "camera_id": pd.array([1, None, 2], dtype="Int64"),
            "tracklet_id": pd.array(["0002", None, "x"], dtype="string"),
            "quality": [0.1, np.nan, 1e-300],
            "file": [True, False, True],  # also the name of an argument of np.savez
        }
    )


def embeddings_of(count: int, width: int = 5) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, width)).astype(np.float32)


@pytest.mark.parametrize("suffix", EVERY)
def test_what_is_read_is_what_was_written(tmp_path, suffix):
    embeddings = np.concatenate([AWKWARD, embeddings_of(2)])
    write_embeddings(tmp_path / f"a{suffix}", known(), embeddings, metric="cosine")
    read = read_embeddings(tmp_path / f"a{suffix}")
    assert read.embeddings.dtype == np.float32
    np.testing.assert_array_equal(read.embeddings.view(np.uint32), embeddings.view(np.uint32))
    assert read.metric == "cosine"
    assert list(read.frame) == list(known())
    assert read.frame.person_id.dtype == np.int64 and read.frame.person_id.tolist() == [7, -1, 1501]
    assert read.frame.image_path.tolist() == ["a.jpg", "Zoë, 2.jpg", "c.jpg"]
    assert read.frame.camera_id.tolist() == [1, pd.NA, 2]
    assert read.frame.tracklet_id.tolist() == ["0002", pd.NA, "x"]
    np.testing.assert_array_equal(read.frame.quality, [0.1, np.nan, 1e-300])
    # Text is all that a CSV knows.
    assert [str(value) for value in read.frame.file] == ["True", "False", "True"]


@pytest.mark.parametrize("suffix", EVERY)
@pytest.mark.parametrize("count", [1, 9000])  # more than are written at once
def test_any_number_of_rows_without_anything_known(tmp_path, suffix, count):
    write_embeddings(tmp_path / f"a{suffix}", pd.DataFrame(index=range(count)), embeddings_of(count))
    read = read_embeddings(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read.embeddings, embeddings_of(count))
    assert read.frame.shape == (count, 0) and read.metric == "euclidean"


@pytest.mark.parametrize("suffix", EVERY)
def test_gaps_survive_in_each_kind_of_column(tmp_path, suffix):
    """Ids that pandas made floats because one was missing are whole numbers again; a column of gaps stays one."""
    frame = pd.DataFrame(
        {
            "person_id": [3.0, np.nan],
            "camera_id": np.array([None, None], dtype=object),
            "tracklet_id": np.array([None, 5], dtype=object),
            "split": pd.Categorical(["query", None]),
        },
        index=[10, 20],
    )
    write_embeddings(tmp_path / f"a{suffix}", frame, embeddings_of(2))
    read = read_embeddings(tmp_path / f"a{suffix}").frame
    assert read.person_id.tolist() == [3, pd.NA] and read.tracklet_id.tolist() == [pd.NA, 5]
    assert read.camera_id.isna().all()
    assert read.split.tolist() == ["query", pd.NA]


def test_an_npz_opens_in_plain_numpy_without_pickle(tmp_path):
    write_embeddings(tmp_path / "a.npz", known(), embeddings_of(3))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert {file[name].dtype.kind for name in file.files} <= set("fiUb")
        np.testing.assert_array_equal(file["embeddings"], embeddings_of(3))
        np.testing.assert_array_equal(file["camera_id"], [1, -1, 2])
        np.testing.assert_array_equal(file["camera_id.missing"], [False, True, False])
        assert file["metric"].item() == "euclidean"


@needs_pyarrow
def test_a_parquet_opens_in_plain_pandas(tmp_path):
    write_embeddings(tmp_path / "a.parquet", known(), embeddings_of(3))
    frame = pd.read_parquet(tmp_path / "a.parquet")
    np.testing.assert_array_equal(np.stack(frame.embedding), embeddings_of(3))
    assert frame.camera_id.tolist() == [1, pd.NA, 2]


def test_a_csv_opens_in_plain_pandas(tmp_path):
    write_embeddings(tmp_path / "a.csv", known(), embeddings_of(3), metric="cosine")
    frame = pd.read_csv(tmp_path / "a.csv")
    assert list(frame) == [*known(), "metric", "e0", "e1", "e2", "e3", "e4"]
    np.testing.assert_array_equal(frame[["e0", "e4"]].to_numpy(np.float32), embeddings_of(3)[:, [0, 4]])
    assert set(frame.metric) == {"cosine"}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("ending", ["", "s"])
def test_other_peoples_npz(tmp_path, dtype, ending):
    numbers = np.array([[0.5, 0.25], [2, -3]], dtype)
    ids = {f"person_id{ending}": np.array([4, 5], np.int32), f"camera_id{ending}": np.array([b"c1", b"c2"])}
    np.savez_compressed(tmp_path / "a.npz", embeddings=numbers, **ids, losses=np.zeros(7))
    read = read_embeddings(tmp_path / "a.npz")
    assert read.embeddings.dtype == np.float32 and read.embeddings.tolist() == [[0.5, 0.25], [2, -3]]
    assert {name: read.frame[name].tolist() for name in read.frame} == {"person_id": [4, 5], "camera_id": ["c1", "c2"]}
    assert read.metric is None


@needs_pyarrow
@pytest.mark.parametrize("kind", ["list_", "large_list", "fixed"])
@pytest.mark.parametrize("number", ["float16", "float32", "float64"])
def test_other_peoples_parquet(tmp_path, kind, number):
    import pyarrow
    import pyarrow.parquet

    number = getattr(pyarrow, number)()
    kind = pyarrow.list_(number, 2) if kind == "fixed" else getattr(pyarrow, kind)(number)
    rows = [[np.float16(0.5), np.float16(0.25)], [np.float16(2), np.float16(-3)]]
    columns = {"embeddings": pyarrow.array(rows, kind), "person_ids": pyarrow.array([None, 5], pyarrow.int32())}
    columns["time"] = pyarrow.array([0, 1], pyarrow.timestamp("ms"))
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    read = read_embeddings(tmp_path / "a.parquet")
    assert read.embeddings.dtype == np.float32 and read.embeddings.tolist() == [[0.5, 0.25], [2, -3]]
    assert read.frame.person_id.tolist() == [pd.NA, 5]
    assert read.metric is None and len(read.frame.time) == 2


def test_a_spreadsheets_csv_with_its_mark_and_any_order_of_columns(tmp_path):
    text = "person_id,e1,e0,camera_id\n0002,0.25,0.5,\n7,-3,2e0,4\n"
    (tmp_path / "a.CSV").write_bytes(b"\xef\xbb\xbf" + text.encode())
    read = read_embeddings(tmp_path / "a.CSV")
    assert read.embeddings.tolist() == [[0.5, 0.25], [2, -3]] and read.metric is None
    assert read.frame.person_id.tolist() == ["0002", "7"] and read.frame.camera_id.tolist() == [pd.NA, 4]


@pytest.mark.parametrize("name", ["a.pkl", "a", "a.npy", "a.parquet.txt"])
def test_another_suffix_is_refused_with_those_that_work(tmp_path, name):
    (tmp_path / name).write_text("x")
    for call in (read_embeddings, lambda path: write_embeddings(path, known(), embeddings_of(3))):
        with pytest.raises(ReidError, match=rf"{name}.*\.parquet, \.npz, \.csv"):
            call(tmp_path / name)
    assert (tmp_path / name).read_text() == "x"


@pytest.mark.parametrize("suffix", EVERY)
@pytest.mark.parametrize("damage", ["missing", "folder", "empty", "noise", "cut", "flipped"])
def test_a_damaged_file_is_named(tmp_path, suffix, damage):
    path = tmp_path / f"broken{suffix}"
    write_embeddings(tmp_path / f"whole{suffix}", known(), embeddings_of(3, 200))
    whole = bytearray((tmp_path / f"whole{suffix}").read_bytes())
    if damage == "flipped" and suffix == ".csv":
        pytest.skip("a CSV has no checksum")
    whole[300] ^= 255
    content = {"empty": b"", "noise": b"\x00\x01hello" * 99, "cut": whole[: len(whole) // 2], "flipped": whole}
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(content[damage])
    if (suffix, damage) == (".parquet", "flipped"):
        pytest.skip("Parquet's pages have no checksum unless asked for")
    with pytest.raises(ReidError, match="broken"):
        read_embeddings(path)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"features": np.ones((2, 3))}, "no array embeddings, only features"),
        ({"embeddings": np.ones(3)}, r"float64 \[3\], expected"),
        ({"embeddings": np.ones((0, 3))}, r"\[0, 3\]"),
        ({"embeddings": np.array([["a", "b"]])}, "<U1"),
        ({"embeddings": np.array([[1], [1, 2]], dtype=object)}, "Python objects are not read"),
        ({"embeddings": np.ones((2, 3)), "person_ids": np.ones(3)}, r"person_ids has shape \[3\] but .*\[2, 3\]"),
        ({"embeddings": np.ones((2, 3)), "person_ids": np.ones(2), "person_id": np.ones(2)}, "both person_id and its"),
        ({"embeddings": np.ones((2, 3)), "metric": np.array("manhattan")}, "metric='manhattan' is unknown"),
    ],
)
def test_an_npz_of_something_else_is_refused(tmp_path, arrays, text):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ReidError, match=f"a.npz.*{text}"):
        read_embeddings(tmp_path / "a.npz")


def test_a_zip_that_is_no_npz_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("embeddings", "hello")
    with pytest.raises(ReidError, match="a.npz.*no array embeddings, only none at all"):
        read_embeddings(tmp_path / "a.npz")


@needs_pyarrow
@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"person_id": [1, 2]}, "no column embedding, only person_id"),
        ({"embedding": [1.0, 2.0]}, "type double, expected lists of float"),
        ({"embedding": [[1.0], [1.0, 2.0]]}, "1, 2 wide, expected one width"),
        ({"embedding": [[1.0], None]}, "1, None wide"),
        ({"embedding": [[1.0], [None]]}, "numbers are missing"),
        ({"embedding": [[], []]}, r"\[2, 0\]"),
        ({"embedding": [["a"], ["b"]]}, "expected float16"),
    ],
)
def test_a_parquet_of_something_else_is_refused(tmp_path, columns, text):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    with pytest.raises(ReidError, match=f"a.parquet.*{text}"):
        read_embeddings(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("person_id\n1\n", "expected the columns e0, e1"),
        ("e0,e2\n1,2\n", "expected the columns e0, e1"),
        ("e0,e1\n1,2\n3,\n", "numbers are missing in row 2"),
        ("e0,e1\n1,two\n", "cannot be read as a CSV"),
        ("e0,e1\n1,2,3\n", "cannot be read as a CSV"),
        ("e0,e1\n1,2\n3,4,5\n", "cannot be read as a CSV"),
        ("e0,e1\n", r"\[0, 2\]"),
        ("metric,e0\ncosine,1\neuclidean,2\n", "its rows name 2 values of metric, cosine, euclidean"),
        ("metric,e0\n3,1\n", "metric=.*3.* is unknown"),
    ],
)
def test_a_csv_of_something_else_is_refused(tmp_path, content, text):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(ReidError, match=f"a.csv.*{text}"):
        read_embeddings(tmp_path / "a.csv")


@pytest.mark.parametrize("suffix", EVERY)
def test_what_cannot_be_written_leaves_the_old_file(tmp_path, suffix):
    path, frame = tmp_path / f"a{suffix}", known()
    write_embeddings(path, frame, embeddings_of(3))
    before = path.read_bytes()
    broken = embeddings_of(3)
    broken[1, 2] = np.nan
    for embeddings, changed, metric, text in [
        (embeddings_of(2), frame, "cosine", "3 rows but 2 embeddings"),
        (embeddings_of(3)[0], frame, "cosine", r"\[5\], expected"),
        (broken, frame, "cosine", "embedding 1 of 3 holds NaN or inf .*Zoë"),
        (embeddings_of(3), frame, "manhattan", "metric='manhattan'"),
        (embeddings_of(3), frame.assign(e3=1), "cosine", "a column is named 'e3'"),
        (embeddings_of(3), frame.assign(embedding=1), "cosine", "a column is named 'embedding'"),
        (embeddings_of(3), frame.assign(mixed=[1, "a", None]), "cosine", "column 'mixed' holds mixed-integer"),
        (embeddings_of(3), frame.assign(person_id=2**70), "cosine", "column 'person_id' .*64 bits"),
        (embeddings_of(3), pd.concat([frame, frame], axis=1), "cosine", "each name once"),
        (embeddings_of(3), frame.rename(columns={"quality": 5}), "cosine", "expected a name for each, as text"),
    ]:
        with pytest.raises(ReidError, match=text):
            write_embeddings(path, changed, embeddings, metric=metric)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [pytest.param(".parquet", marks=needs_pyarrow), ".csv"])
def test_a_file_name_that_is_not_in_utf_8_is_refused(tmp_path, suffix):
    frame = pd.DataFrame({"image_path": np.array(["\udcff.jpg"], dtype=object)}, dtype=object)
    with pytest.raises(ReidError, match="not in UTF-8"):
        write_embeddings(tmp_path / f"a{suffix}", frame, embeddings_of(1))
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_pyarrow_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for call in (read_embeddings, lambda path: write_embeddings(path, known(), embeddings_of(3))):
        with pytest.raises(ReidError, match=r"a.parquet.*needs pyarrow.*pip install pyarrow.*\.npz"):
            call(tmp_path / "a.parquet")


@pytest.mark.parametrize("suffix", EVERY)
def test_white_space_around_ids_is_no_part_of_them(tmp_path, suffix):
    frame = pd.DataFrame(
        {"image_path": [" a.jpg", "b.jpg"], "person_id": ["per1 ", "\u3000per1"], "camera_id": ["x", " "]}
    )
    write_embeddings(tmp_path / f"a{suffix}", frame, embeddings_of(2))
    read = read_embeddings(tmp_path / f"a{suffix}").frame
    assert read.person_id.tolist() == ["per1", "per1"] and read.camera_id.tolist() == ["x", pd.NA]
    assert read.image_path.tolist() == [" a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "2", ""], [1, 2, pd.NA]),
        (["1.0", "2.0", ""], [1, 2, pd.NA]),  # as pandas writes whole numbers beside a gap
        (["1.0", "02", "x"], ["1", "02", "x"]),
        (["1.5", "1.0", "2"], ["1.5", "1", "2"]),
        (["1e3", "-0", "3"], ["1e3", "-0", "3"]),
    ],
)
def test_an_id_in_a_csv_is_read_alike_whatever_other_rows_hold(tmp_path, cells, expected):
    rows = [f"{cell},{cell},0.5" for cell in cells]
    (tmp_path / "a.csv").write_text("\n".join(["person_id,camera_ids,e0", *rows]))
    read = read_embeddings(tmp_path / "a.csv").frame
    assert read.person_id.tolist() == read.camera_id.tolist() == expected


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_a_csv_of_another_language_is_read(tmp_path, separator, decimal):
    lines = ["# made here", "person_id,e0,e1", "a,0.25,-1e-3", "b,1,0.5"]
    text = "\n".join(line.replace(",", separator).replace(".", decimal) for line in lines)
    (tmp_path / "a.csv").write_text(text)
    read = read_embeddings(tmp_path / "a.csv")
    np.testing.assert_array_equal(read.embeddings, np.float32([[0.25, -1e-3], [1, 0.5]]))
    assert read.frame.person_id.tolist() == ["a", "b"]
    (tmp_path / "a.csv").write_text(f"{text}\nc{separator}1.5{separator}1,5\n")  # two kinds of numbers
    with pytest.raises(ReidError, match="a.csv' cannot be read as a CSV"):
        read_embeddings(tmp_path / "a.csv")


# --- Folders of files that are read as one ---


def write_parts(folder, parts: int = 3, **about):
    """The rows of `known`, one in each file, as a cluster leaves them."""
    folder.mkdir()
    for number in range(parts):
        name = folder / f"embeddings-{number:05}-of-{parts:05}.parquet"
        write_embeddings(name, known()[number : number + 1], embeddings_of(3)[number : number + 1], **about)


@needs_pyarrow
def test_a_folder_is_read_as_one_file(tmp_path):
    write_parts(tmp_path / "parts", metric="cosine", network_fingerprint="abc")
    for name in ("_images.parquet", ".half.parquet", "skipped.csv"):  # of the job that writes them
        (tmp_path / "parts" / name).write_text("no embeddings")
    write_embeddings(tmp_path / "one.parquet", known(), embeddings_of(3), metric="cosine", network_fingerprint="abc")
    read, one = read_embeddings(tmp_path / "parts"), read_embeddings(tmp_path / "one.parquet")
    np.testing.assert_array_equal(read.embeddings, one.embeddings)
    pd.testing.assert_frame_equal(read.frame, one.frame)
    assert (read.metric, read.network_fingerprint) == ("cosine", "abc")


@needs_pyarrow
def test_a_folder_that_is_not_whole_or_of_two_networks_is_refused(tmp_path):
    write_parts(tmp_path / "parts", network_fingerprint="abc")
    last = tmp_path / "parts" / "embeddings-00002-of-00003.parquet"
    last.unlink()
    with pytest.raises(ReidError, match="it has 2 of 3 files"):
        read_embeddings(tmp_path / "parts")
    write_embeddings(last, known()[2:], embeddings_of(1), network_fingerprint="other")
    with pytest.raises(ReidError, match="2 values of network_fingerprint"):
        read_embeddings(tmp_path / "parts")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReidError, match="a folder without .parquet files"):
        read_embeddings(tmp_path / "empty")
