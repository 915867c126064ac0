"""Decides what of a downloaded archive is written: plain files inside one folder, within limits, or nothing.

An archive of a dataset comes from strangers. Names that lead out of the folder, links and devices are refused, and so
is what unpacks to more than the disk, or the size of the archive, gives reason to expect.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from keras_reid.errors import ReidError

MAX_MEMBERS = 3_000_000  # MARS, the set with the most files, has 1.2 million
MAX_RATIO = 100  # pictures hardly shrink, and lists of names 20 times; a bomb makes 1,000 of 1
_ALWAYS_ALLOWED = 100_000_000  # bytes, whatever the ratio
_KEEP_FREE = 500_000_000  # bytes of the disk
_CHUNK = 1 << 20
_MAX_HEADER = 16 << 20
_COMPRESSIONS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError)
_DAMAGED += (NotImplementedError, UnicodeDecodeError, ValueError)  # of a compression or a header that is not known


class Member(NamedTuple):
    """One file or folder of an archive."""

    name: str
    size: int
    is_folder: bool
    open: Callable[[], BinaryIO]
    position: int  # bytes of the archive up to here; 0 where it is not known


def unpack(archive: str | os.PathLike, folder: Path, *, progress: Callable[[float], None] = lambda done: None) -> int:
    """Unpacks a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz; on an error the caller removes the folder.

    What macOS adds (__MACOSX, names that begin with ._) is left out. Rights and owners are not taken over.

    Args:
        archive: the file.
        folder: where to; it exists, and holds nothing but what was unpacked in the same way.
        progress: is called with the share of the work that is done, 0 to 1.

    Returns:
        How many files were written.

    Raises:
        ReidError: it is no such archive, is damaged or encrypted, or holds what is refused.
    """
    archive = os.fspath(archive)
    try:
        with contextlib.closing(_members(archive)) as members:
            return _write(members, archive, folder, progress)
    except _DAMAGED as error:
        raise ReidError(
            f"{archive!r} is damaged, or no .zip or .tar that can be read: {error}. Get it again."
        ) from error
    except OSError as error:
        if error.errno is None:  # of bz2 and gzip, for data that is none of theirs
            raise ReidError(f"{archive!r} is damaged: {error}. Get it again.") from error
        raise


def _write(members: Iterator[Member], archive: str, folder: Path, progress: Callable[[float], None]) -> int:
    size, free = os.path.getsize(archive), shutil.disk_usage(folder).free - _KEEP_FREE
    files, unpacked = 0, 0
    for count, member in enumerate(members, 1):
        unpacked += member.size
        if count > MAX_MEMBERS:
            raise ReidError(f"{archive!r} holds more than {MAX_MEMBERS:,} files, more than any dataset: refused.")
        if unpacked > max(_ALWAYS_ALLOWED, MAX_RATIO * size):
            raise ReidError(
                f"{archive!r} has {size:,} bytes and unpacks to more than {MAX_RATIO} times as many: no archive of "
                "pictures does. Refused; get it from the authors' page."
            )
        if unpacked > free:
            raise ReidError(
                f"{archive!r} unpacks to more than {unpacked / 1e9:.1f} GB, {max(0, free) / 1e9:.1f} GB are free at "
                f"{str(folder.parent)!r}. Free some space or set --data_dir to another disk."
            )
        parts = _safe_parts(member.name, archive)
        if not parts or parts[0] == "__MACOSX" or parts[-1].startswith("._"):
            continue
        _write_member(member, folder.joinpath(*parts), archive)
        files += not member.is_folder
        progress(min(1.0, member.position / size))
    if not files:
        raise ReidError(f"{archive!r} holds no file. Get it again.")
    return files


def _safe_parts(name: str, archive: str) -> list[str]:
    """Returns the folders and the name of a member; ReidError where it would lie outside, or is no name."""
    plain = name.replace("\\", "/")  # some tools on Windows write these
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    outside = plain.startswith("/") or ".." in parts or re.match("[a-zA-Z]:", plain)
    if outside or any(ord(letter) < 32 for letter in plain) or any(len(os.fsencode(part)) > 255 for part in parts):
        raise ReidError(
            f"{archive!r} holds {name[:200]!r}, which is no name of a file inside the folder: refused, and nothing is "
            "unpacked. Get it from the authors' page."
        )
    return parts


def _write_member(member: Member, path: Path, archive: str) -> None:
    try:
        if member.is_folder:
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as source, open(path, "xb") as target:
            written = 0
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                if written > member.size:
                    break
                target.write(chunk)
    except (FileExistsError, NotADirectoryError) as error:
        raise ReidError(f"{archive!r} holds {member.name!r} twice, or as file and folder: refused.") from error
    if written != member.size:
        raise ReidError(f"{archive!r}: {member.name!r} has not the {member.size:,} bytes that it declares: refused.")


def _members(archive: str) -> Iterator[Member]:
    with open(archive, "rb") as file:
        start = file.read(6)
    if start.startswith(b"PK"):
        return _zip_members(archive)
    return _tar_members(archive, next((how for mark, how in _COMPRESSIONS.items() if start.startswith(mark)), open))


def _zip_members(archive: str) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        members = sorted(file.infolist(), key=lambda info: info.header_offset)
        if sum(info.file_size for info in members) > max(_ALWAYS_ALLOWED, MAX_RATIO * os.path.getsize(archive)):
            # Before anything is written: all that a .zip holds is declared at its end.
            yield Member("", sum(info.file_size for info in members), True, None, 0)
        for info in members:
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused_kind(archive, info.filename)
            if info.flag_bits & 1:
                raise ReidError(
                    f"{archive!r} is encrypted: unpack it yourself with the password of its authors, and set "
                    "--data_dir to the folder."
                )
            yield Member(
                info.filename,
                info.file_size,
                info.is_dir(),
                lambda info=info: file.open(info),
                info.header_offset + info.compress_size,
            )


class _SmallReads:
    """A file that refuses to read much at once: tarfile reads a header's declared size into memory."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)


def _tar_members(archive: str, open_content: Callable) -> Iterator[Member]:
    with open(archive, "rb") as raw, open_content(archive if open_content is open else raw, "rb") as content:
        position = content if open_content is open else raw
        with tarfile.open(fileobj=_SmallReads(content), mode="r:") as file:
            while (info := file.next()) is not None:
                file.members.clear()  # else a million of them stay in memory
                if info.issparse() or not (info.isreg() or info.isdir()):
                    raise _refused_kind(archive, info.name)
                size = 0 if info.isdir() else info.size
                yield Member(info.name, size, info.isdir(), lambda info=info: file.extractfile(info), position.tell())
            # What follows is padding, but only at its end does a compressed file tell whether all of it was right.
            if len(content.read(_MAX_HEADER)) == _MAX_HEADER:
                raise tarfile.ReadError("it goes on behind its end")


def _refused_kind(archive: str, name: str) -> ReidError:
    return ReidError(
        f"{archive!r} holds {name[:200]!r}, a link, a device or a sparse file: expected files and folders. Refused, "
        "and nothing is unpacked. Get it from the authors' page."
    )
