"""Unpacking of a downloaded archive: plain files inside one folder, within limits, or nothing.

An archive of a dataset comes from strangers. Names that lead out of the folder, links and devices are refused, and so
is what unpacks to more than the disk, or the size of the archive, gives reason to expect.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from keras_reid.errors import ReidError

MAX_MEMBERS = 3_000_000  # MARS, the set with the most files, has 1.2 million
MAX_RATIO = 100  # pictures hardly shrink, and lists of names 20 times; a bomb makes 1,000 of 1
_ALWAYS_ALLOWED = 100_000_000  # bytes, whatever the ratio
_KEEP_FREE = 500_000_000  # bytes of the disk
_MAX_HEADER = 16 << 20
_COMPRESSIONS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_NO_FILE = "a link, a device or a sparse file, where files and folders are expected"
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError)
_DAMAGED += (NotImplementedError, UnicodeDecodeError, ValueError)  # of a compression or a header that is not known


def unpack(archive: str | os.PathLike, folder: Path) -> int:
    """Unpacks a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz and returns the number of files.

    What macOS adds (__MACOSX, names that begin with ._) is left out. Rights, owners and times are not taken over. The
    folder exists, and holds nothing but what was unpacked in the same way; on an error the caller removes it.

    Raises:
        ReidError: it is no such archive, is damaged or encrypted, or holds what is refused.
    """
    archive = os.fspath(archive)
    try:
        with open(archive, "rb") as file:  # a .tar may end in a .zip, which zipfile.is_zipfile takes for one
            is_zip = file.read(2) == b"PK"
        files = _unpack_zip(archive, folder) if is_zip else _unpack_tar(archive, folder)
    except (FileExistsError, NotADirectoryError) as error:
        raise ReidError(f"{archive!r} holds {error.filename!r} twice, or as file and folder: refused.") from error
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk; bz2 and gzip give no number
            raise
        raise ReidError(
            f"{archive!r} is damaged, or no .zip or .tar that can be read: {error}. Get it again."
        ) from error
    if not files:
        raise ReidError(f"{archive!r} holds no file. Get it again.")
    return files


def _unpack_zip(archive: str, folder: Path) -> int:
    files = 0
    with zipfile.ZipFile(archive) as file, _progress(archive) as progress:
        members = file.infolist()  # all is declared at its end, and checked before anything is written
        size = sum(info.file_size for info in members)
        _refuse_too_much(archive, folder, files=len(members), size=size, free=_free(folder))
        for info in members:
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refusal(archive, info.filename, _NO_FILE)
            if info.flag_bits & 1:
                raise ReidError(
                    f"{archive!r} is encrypted: unpack it yourself with the password of its authors, and set data_dir "
                    "to the folder."
                )
            info.filename = _safe_name(archive, info.filename) + "/" * info.is_dir()
        for info in members:
            if _is_wanted(folder, info.filename):
                file.extract(info, folder)
                files += not info.is_dir()
            progress.update(info.compress_size)
    return files


def _unpack_tar(archive: str, folder: Path) -> int:
    if not hasattr(tarfile, "data_filter"):
        raise ReidError(
            "this Python cannot unpack a .tar of strangers safely: update it to 3.9.17, 3.10.12, 3.11.4 or later, or "
            f"unpack {archive!r} yourself and set data_dir to the folder."
        )
    count, size, files, free = 0, 0, 0, _free(folder)
    with open(archive, "rb") as raw, _decompressed(raw) as content, _progress(archive) as progress:
        with tarfile.open(fileobj=_SmallReads(content), mode="r:") as file:
            while (info := file.next()) is not None:
                file.members.clear()  # else a million of them stay in memory
                if info.issparse() or not (info.isreg() or info.isdir()):
                    raise _refusal(archive, info.name, _NO_FILE)
                count, size = count + 1, size + info.size
                _refuse_too_much(archive, folder, files=count, size=size, free=free)
                info.name = _safe_name(archive, info.name) + "/" * info.isdir()
                if _is_wanted(folder, info.name):
                    file.extract(info, folder, set_attrs=False, filter="data")
                    files += info.isreg()
                progress.update(raw.tell() - progress.n)
        # What follows is padding, but only at its end does a compressed file tell whether all of it was right.
        if len(content.read(_MAX_HEADER)) == _MAX_HEADER:
            raise tarfile.ReadError("it goes on behind its end")
    return files


def _decompressed(raw: BinaryIO) -> BinaryIO:
    start = raw.read(6)
    raw.seek(0)
    return next((how(raw) for mark, how in _COMPRESSIONS.items() if start.startswith(mark)), raw)


class _SmallReads:
    """A file that refuses to read much at once: tarfile reads a header's declared size into memory."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)


def _free(folder: Path) -> int:
    return max(0, shutil.disk_usage(folder).free - _KEEP_FREE)


def _refuse_too_much(archive: str, folder: Path, *, files: int, size: int, free: int) -> None:
    if files > MAX_MEMBERS:
        raise ReidError(f"{archive!r} holds more than {MAX_MEMBERS:,} files, more than any dataset: refused.")
    packed = os.path.getsize(archive)
    if size > max(_ALWAYS_ALLOWED, MAX_RATIO * packed):
        raise ReidError(
            f"{archive!r} has {packed:,} bytes and unpacks to more than {MAX_RATIO} times as many: no archive of "
            "pictures does. Refused; get it from the authors' page."
        )
    if size > free:
        raise ReidError(
            f"{archive!r} unpacks to more than {size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free at "
            f"{str(folder.parent)!r}. Free some space or set data_dir to another disk."
        )


def _safe_name(archive: str, name: str) -> str:
    """Returns a member's name, its parts joined by /; ReidError where it would lie outside, or is no name."""
    plain = name.replace("\\", "/")  # some tools on Windows write these
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    outside = plain.startswith("/") or ".." in parts or re.match("[a-zA-Z]:", plain)
    if outside or any(ord(letter) < 32 for letter in plain) or any(len(os.fsencode(part)) > 255 for part in parts):
        raise _refusal(archive, name, "which is no name of a file inside the folder")
    return "/".join(parts)


def _is_wanted(folder: Path, name: str) -> bool:
    """Whether a member is part of the dataset. Raises FileExistsError where a file of that name is there already."""
    parts = name.rstrip("/").split("/")
    if not name.endswith("/") and folder.joinpath(*parts).exists():
        raise FileExistsError(errno.EEXIST, "", name)
    return parts != [""] and parts[0] != "__MACOSX" and not parts[-1].startswith("._")


def _progress(archive: str) -> tqdm:
    return tqdm(total=os.path.getsize(archive), unit="B", unit_scale=True, desc="unpacking", disable=None, leave=False)


def _refusal(archive: str, name: str, what: str) -> ReidError:
    why = f"{archive!r} holds {name[:200]!r}, {what}: refused, and nothing is unpacked."
    return ReidError(f"{why} Get it from the authors' page.")
