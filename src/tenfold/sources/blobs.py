"""Model artifacts in a local directory: immutable, complete or invisible, checked at every read."""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from tenfold.core.errors import Conflict, DefinitionError, NotFound, SchemaError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
# "@" cannot occur in a name: it stands for "/" on disk, so all blobs are siblings and one rename shows or hides one.
SLASH = "@"
LONGEST = 200
"""Characters of a name: file systems take 255."""
MANIFEST = "@manifest.json"


class DirectoryBlobs:
    """`Blobs` as directories below `root`, one per name, with a manifest of sha256 hashes.

    `put` returns when all bytes are on disk; a process killed before leaves a hidden directory that nobody reads. The
    digest is the sha256 of the manifest, so it depends on every file's name and bytes. `get` raises SchemaError when
    a file is not what was put. Names of blobs and of files are segments of letters, digits, "_", "." and "-" with "/"
    between.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> blobs = DirectoryBlobs(Path(mkdtemp()))
    >>> digest = blobs.put("fraud/3", {"model.txt": b"tree"})
    >>> blobs.get("fraud/3")
    {'model.txt': b'tree'}
    >>> blobs.names("fraud/")
    ['fraud/3']
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)
        self._root.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, files: Mapping[str, bytes]) -> str:
        target = self._root / encode(name, "blob")
        manifest = make_manifest(files)
        staging = self._root / f".{uuid.uuid4().hex}"
        try:
            if not target.exists():
                _write(
                    staging,
                    {**{encode(file, "file"): data for file, data in files.items()}, MANIFEST: manifest},
                )
                self._show(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        flush(self._root)  # also what is there: who showed it may have failed, or died, before this
        if (target / MANIFEST).read_bytes() != manifest:
            raise taken(name)
        return digest(files)

    def get(self, name: str) -> dict[str, bytes]:
        target = self._root / encode(name, "blob")
        if not target.exists():
            raise NotFound("blob", name, self.names())
        return dict(_checked(target, name))

    def names(self, prefix: str = "") -> list[str]:
        names = (
            entry.name.replace(SLASH, "/") for entry in self._root.iterdir() if not entry.name.startswith(".")
        )
        return sorted(name for name in names if name.startswith(prefix))

    def delete(self, name: str) -> None:
        hidden = self._root / f".{uuid.uuid4().hex}"
        target = self._root / encode(name, "blob")
        try:
            target.rename(hidden)
        except FileNotFoundError:
            return
        flush(self._root)
        shutil.rmtree(hidden)

    def _show(self, staging: Path, target: Path) -> None:
        try:
            staging.rename(target)
        except OSError:
            if not target.exists():
                raise


def encode(name: str, kind: str) -> str:
    """Return the name on disk of a blob or of one of its files; DefinitionError when it is not allowed.

    Examples
    --------
    >>> encode("fraud/3", "blob")
    'fraud@3'
    >>> encode("../etc", "blob")
    Traceback (most recent call last):
    tenfold.core.errors.DefinitionError: "../etc" cannot be the name of a blob. Use letters, digits, "_", "." and "-", ...
    """
    if len(name) > LONGEST or not NAME.fullmatch(name):
        raise DefinitionError(
            f'"{name[:LONGEST]}" cannot be the name of a {kind}. Use letters, digits, "_", "." and "-", with "/" between parts, '
            f'at most {LONGEST} in all, for example "fraud/3".'
        )
    return name.replace("/", SLASH)


def make_manifest(files: Mapping[str, bytes]) -> bytes:
    """Return the manifest of files, the same bytes in whatever order the files come.

    Examples
    --------
    >>> make_manifest({"b": b"", "a": b""}) == make_manifest({"a": b"", "b": b""})
    True
    """
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return msgspec.json.encode(hashes, order="sorted")


def digest(files: Mapping[str, bytes]) -> str:
    """Return what `put` returns: the sha256 of the manifest, so of every file's name and bytes.

    Examples
    --------
    >>> digest({"a": b"1"})[:8]
    'a8bd5d83'
    """
    return hashlib.sha256(make_manifest(files)).hexdigest()


def flush(path: Path) -> None:
    """Force a file, or the entries of a directory, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rewrite(path: Path) -> None:
    """Write a small file once more as it is, and force it to disk.

    Where a sync failed before, Linux takes for written what is not, and another one of the same pages does nothing.
    """
    with path.open("r+b") as file:
        times = os.fstat(file.fileno())
        data = file.read()
        file.seek(0)
        file.write(data)
        file.flush()
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        os.fsync(file.fileno())


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    directory.mkdir()
    for name, data in files.items():
        (directory / name).write_bytes(data)
        flush(directory / name)
    flush(directory)


def _checked(directory: Path, name: str) -> Iterator[tuple[str, bytes]]:
    try:
        manifest = msgspec.json.decode((directory / MANIFEST).read_bytes(), type=dict[str, str])
        for file, digest in manifest.items():
            path = directory / encode(file, "file")
            if path.is_symlink() or directory.is_symlink():
                raise changed(name, f"{file} is a link")
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != digest:
                raise changed(name, f"{file} has another sha256")
            yield file, data
    except (msgspec.MsgspecError, FileNotFoundError) as error:
        raise changed(name, str(error)) from error


def taken(name: str) -> Conflict:
    """Return the error for other files under a name that is used."""
    return Conflict(f'blob "{name}" already holds other files. Blobs never change; put it under a new name.')


def changed(name: str, what: str) -> SchemaError:
    """Return the error for files that are not what was put."""
    return SchemaError(
        f'blob "{name}" is not what was stored: {what}. Delete it and put it again from its source.'
    )
