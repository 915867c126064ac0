"""prepare: what is unpacked, what is refused, and that a refusal leaves nothing behind."""

import gzip
import io
import os
import stat
import tarfile
import zipfile

import pytest
from PIL import Image

from keras_reid import prepare
from keras_reid.data import read_market1501, unpack
from keras_reid.data.readers.sources import SOURCES, license_notes

NAMES = ["bounding_box_train/0002_c1s1_000451_03.jpg", "query/0001_c1s1_001051_00.jpg"]
NAMES += ["bounding_box_test/0001_c2s1_001976_01.jpg"]


def jpeg() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (4, 8), (30, 200, 30)).save(content, format="JPEG")
    return content.getvalue()


MARKET = dict.fromkeys(NAMES, jpeg())


def write_zip(path, content=MARKET, top="", **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as file:
        for name, data in content.items():
            file.writestr(f"{top}{name}" if isinstance(name, str) else name, data)
    return path


def write_tar(path, content=MARKET, top="", more=(), mode="w:gz"):
    with tarfile.open(path, mode) as file:
        for name, data in content.items():
            info = tarfile.TarInfo(top + name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        for info in more:
            file.addfile(info)
    return path


def run(*arguments, name="market1501"):
    return prepare.main(["prepare", name, *map(str, arguments)])


@pytest.mark.parametrize(
    ("write", "suffix"),
    [
        (write_zip, "zip"),
        (write_tar, "tar.gz"),
        (lambda path, **options: write_tar(path, mode="w:", **options), "tar"),
        (lambda path, **options: write_tar(path, mode="w:xz", **options), "zip"),  # the content tells, not the name
        (lambda path, **options: write_tar(path, mode="w:bz2", **options), "tbz"),
    ],
)
@pytest.mark.parametrize("top", ["", "Market-1501-v15.09.15/"])
def test_what_is_unpacked_reads_as_train_reads_it(tmp_path, capsys, write, suffix, top):
    archive, data_dir = write(tmp_path / f"archive.{suffix}", top=top), tmp_path / "new" / "data"
    assert run(f"--archive={archive}", f"--data_dir={data_dir}") == 0
    output = capsys.readouterr().out
    root = data_dir / top.rstrip("/")
    assert output.endswith(f"ready: --dataset=market1501 --data_dir={root}\n")
    assert "3 files" in output
    assert "NOT the official counts: train has 1 images of 1 identities, officially 12,936" in output
    assert "DO NOT distribute" in output
    assert read_market1501(root).person_id.tolist() == [2, 1, 1]
    assert (root / NAMES[0]).read_bytes() == jpeg()
    assert sorted(path.name for path in data_dir.parent.iterdir()) == ["data"]


def test_several_archives_make_one_set(tmp_path, capsys):
    market = write_zip(tmp_path / "m.zip", top="Market-1501-v15.09.15/")
    more = write_zip(tmp_path / "d.zip", {"images/0000_c3s1_000001_00.jpg": jpeg(), "__MACOSX/images/._x": b"x"})
    arguments = [f"--archive={market}", f"--archive={more}", f"--data_dir={tmp_path / 'data'}"]
    assert run(*arguments, name="market1501_500k") == 0
    assert f"ready: --dataset=market1501_500k --data_dir={tmp_path / 'data'}\n" in capsys.readouterr().out
    assert sorted(os.listdir(tmp_path / "data")) == ["Market-1501-v15.09.15", "images"]


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def sparse(path):
    """GNU tar's old sparse type: a header of 1 TB with no data behind it."""
    info = tarfile.TarInfo("huge.jpg")
    info.type = tarfile.GNUTYPE_SPARSE
    return write_tar(path, more=[info])


OUTSIDE = ["../x.jpg", "/tmp/x.jpg", "a/../../x.jpg", "..\\x.jpg", "C:\\x.jpg", "c:x.jpg", "a\nb.jpg", "a" * 300]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_no_name_leads_out_of_the_folder(tmp_path, refused, write, name):
    archive = write(tmp_path / "a", {**MARKET, name: b"x"})
    error = refused(prepare.main, ["prepare", "market1501", f"--archive={archive}", f"--data_dir={tmp_path / 'data'}"])
    assert "which is no name of a file inside the folder: refused" in error
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_zip(path, {**MARKET, zip_link("query/link"): "/etc"}),
        lambda path: write_tar(path, more=[link("query/link", "/etc")]),
        lambda path: write_tar(path, more=[link("query/x.jpg", NAMES[1], tarfile.LNKTYPE)]),
        lambda path: write_tar(path, more=[link("query/fifo", "", tarfile.FIFOTYPE)]),
        lambda path: write_tar(path, more=[link("query/null", "", tarfile.CHRTYPE)]),
        sparse,
    ],
)
def test_links_devices_and_sparse_files_are_refused(tmp_path, refused, write):
    archive = write(tmp_path / "a")
    error = refused(prepare.main, ["prepare", "market1501", f"--archive={archive}", f"--data_dir={tmp_path / 'data'}"])
    assert "a link, a device or a sparse file" in error or "damaged" in error
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_a_bomb_is_refused_before_it_goes_off(tmp_path, refused, write, monkeypatch):
    """Ten zeros files of 2 MB shrink a thousandfold; the limit is lowered so that the test need not write 100 MB."""
    monkeypatch.setattr(unpack, "_ALWAYS_ALLOWED", 1_000_000)
    archive = write(tmp_path / "a", {**MARKET, **{f"{n}.bmp": bytes(2_000_000) for n in range(10)}})
    error = refused(prepare.main, ["prepare", "market1501", f"--archive={archive}", f"--data_dir={tmp_path / 'data'}"])
    assert "unpacks to more than 100 times as many" in error
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_tar_header_of_a_gigabyte_is_not_read(tmp_path, refused):
    """A long name's declared size is read into memory by tarfile."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    with gzip.open(tmp_path / "a", "wb") as file:
        file.write(info.tobuf(format=tarfile.GNU_FORMAT) + bytes(1 << 20))
    error = refused(prepare.main, ["prepare", "market1501", f"--archive={tmp_path / 'a'}", f"--data_dir={tmp_path}/d"])
    assert "a header of 1,073,741,824 bytes" in error


def test_too_many_files_and_too_full_a_disk(tmp_path, refused, monkeypatch):
    arguments = ["prepare", "market1501", f"--archive={write_zip(tmp_path / 'a')}", f"--data_dir={tmp_path / 'data'}"]
    monkeypatch.setattr(unpack, "MAX_MEMBERS", 2)
    assert "holds more than 2 files" in refused(prepare.main, arguments)
    monkeypatch.undo()
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 500_000_100})())
    assert "0.0 GB are free" in refused(prepare.main, arguments)


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_archive_leaves_nothing(tmp_path, refused, write, damage):
    archive = write(tmp_path / "a", {**MARKET, "big.txt": os.urandom(50_000)})
    content = bytearray(archive.read_bytes())
    content[30_000] ^= 255
    content = {"cut": content[:25_000], "flip": content, "empty": b"", "text": b"<html>not found</html>" * 99}[damage]
    archive.write_bytes(content)
    error = refused(prepare.main, ["prepare", "market1501", f"--archive={archive}", f"--data_dir={tmp_path / 'data'}"])
    assert "damaged" in error
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_encrypted_archive_says_so(tmp_path, refused):
    content = bytearray(write_zip(tmp_path / "a").read_bytes())
    at = content.find(b"PK\x01\x02")
    content[at + 8] |= 1
    (tmp_path / "a").write_bytes(content)
    error = refused(prepare.main, ["prepare", "msmt17", f"--archive={tmp_path / 'a'}", f"--data_dir={tmp_path / 'd'}"])
    assert "is encrypted: unpack it yourself" in error


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("x.jpg", "x.jpg"), ("x.jpg", "x.jpg/y.jpg"), ("x.jpg/y.jpg", "x.jpg")])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_comes_twice_is_refused(tmp_path, refused, names, kind):
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "a", "w") as file:
            for name in names:
                file.writestr(name, b"1")
    else:
        write_tar(tmp_path / "a", dict.fromkeys(names[:1], b"1"), more=[tarfile.TarInfo(names[1])])
    error = refused(prepare.main, ["prepare", "viper", f"--archive={tmp_path / 'a'}", f"--data_dir={tmp_path / 'd'}"])
    assert "x.jpg" in error and "' twice, or as file and folder" in error
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_tar_that_ends_in_a_zip_is_a_tar(tmp_path, capsys):
    inner = write_zip(tmp_path / "inner.zip", {"x.txt": b"x"}).read_bytes()
    archive = write_tar(tmp_path / "a.tar", {**MARKET, "inner.zip": inner}, mode="w:")
    assert run(f"--archive={archive}", f"--data_dir={tmp_path / 'data'}") == 0
    assert (tmp_path / "data" / "inner.zip").read_bytes() == inner and "4 files" in capsys.readouterr().out


def test_a_disk_need_not_be_twice_as_large_as_what_is_unpacked(tmp_path, monkeypatch):
    """Three files of 100 bytes, and room for 350: what is written meanwhile takes room, and is not counted twice."""
    written = lambda: sum(path.stat().st_size for path in tmp_path.rglob("*.part-*/*.jpg"))  # noqa: E731
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 500_000_350 - written()})())
    archive = write_tar(tmp_path / "a.tar", {f"{n}.jpg": bytes(100) for n in range(3)}, mode="w:")
    (tmp_path / ".d.part-1").mkdir()
    assert unpack.unpack(archive, tmp_path / ".d.part-1") == 3


def test_a_python_without_a_safe_tarfile_says_what_to_do(tmp_path, refused, monkeypatch):
    monkeypatch.delattr("tarfile.data_filter")
    arguments = ["prepare", "market1501", f"--data_dir={tmp_path / 'data'}"]
    error = refused(prepare.main, [*arguments, f"--archive={write_tar(tmp_path / 'a')}"])
    assert "update it to 3.9.17, 3.10.12, 3.11.4 or later, or unpack" in error and "set --data_dir to" in error
    assert prepare.main([*arguments, f"--archive={write_zip(tmp_path / 'b')}"]) == 0


def test_another_dataset_is_not_kept(tmp_path, refused):
    archive = write_zip(tmp_path / "a", top="some/")
    error = refused(prepare.main, ["prepare", "msmt17", f"--archive={archive}", f"--data_dir={tmp_path / 'data'}"])
    assert f"what was unpacked is not msmt17, and was removed: '{tmp_path}/data/some' is not in MSMT17's" in error
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_nothing_there_is_overwritten(tmp_path, refused):
    archive, data_dir = write_zip(tmp_path / "a"), tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "thesis.tex").write_text("years of work")
    arguments = ["prepare", "market1501", f"--archive={archive}"]
    assert "is not empty, and nothing there is overwritten" in refused(
        prepare.main, [*arguments, f"--data_dir={data_dir}"]
    )
    assert "is a file" in refused(prepare.main, [*arguments, f"--data_dir={archive}"])
    (data_dir / "thesis.tex").unlink()
    assert run(f"--archive={archive}", f"--data_dir={data_dir}") == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["dukemtmc"], "withdrawn by its authors"),
        (["prid"], "'prid' is unknown"),
        (["market1501", "viper"], "expected one name"),
        (["market1501", "--archive=a.zip"], "--data_dir is not set"),
        (["market1501", "--data_dir=d"], "--archive is not set"),
        (["market1501", "--archive=none.zip", "--data_dir=d"], "none.zip is no file on this machine"),
        (["csv", "--archive=none.zip", "--data_dir=d"], "need no preparation"),
        (["--archive=none.zip", "--data_dir=d"], "no name: expected one of market1501"),
    ],
)
def test_wrong_arguments(refused, arguments, text):
    assert text in refused(prepare.main, ["prepare", *arguments])


def test_it_tells_where_to_get_each_set_and_under_which_terms(capsys):
    assert prepare.main(["prepare"]) == 0
    everything = capsys.readouterr().out
    for name, source in SOURCES.items():
        assert f"{name}\n" in everything and source.where in everything and source.terms in everything
        assert license_notes(name)
    assert run(name="msmt17") == 0
    one = capsys.readouterr().out
    assert "release agreement" in one and "VIPeR" not in one
    assert run(name="csv") == 0


def test_license_notes_of_several_sets_are_said_once():
    assert license_notes("market1501+market1501_500k") == license_notes("market1501")
    assert license_notes("market1501+viper").count("Trained on") == 2
    assert license_notes("of somebody") == ""
