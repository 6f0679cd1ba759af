"""Blobs in an object store: files under a name of their own, then one small object that makes them visible."""

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import msgspec

from tenfold.core.errors import DefinitionError, MissingExtra, NotFound, Unavailable
from tenfold.sources.blobs import SLASH, changed, digest, encode, taken

HEADS, PARTS = "blobs", "files"


class Head(msgspec.Struct, frozen=True):
    """What makes a blob visible: the folder of its files, and their sha256."""

    folder: str
    files: dict[str, str]


class ObjectBlobs:
    """`Blobs` in S3, or in a store that speaks its protocol and knows conditional writes.

    `put` returns when everything is stored. The files go to a folder that no other put uses; a blob is there from the
    moment its head is written, which only the first of several writers can do. What a process that died left without a
    head is never read. `get` raises SchemaError when a file is not what was put. A store that does not answer, or does
    not let us in, is `Unavailable`.

    Nothing is connected before it is used.

    Parameters
    ----------
    url
        "s3://bucket/folder"; "file:///shared/folder" is a local one. Google's "gs://" and Azure's "az://" are given to the
        same library, and are not tested here.
    settings
        What the library takes, such as `endpoint="http://127.0.0.1:9000"`, `region="eu-central-1"`; what is not given comes
        from the variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and so on, which is where keys belong.

    Examples
    --------
    >>> from tenfold import Platform
    >>> Platform(blobs=ObjectBlobs("s3://models/fraud", region="eu-central-1")).blobs
    ObjectBlobs('s3://models/fraud')
    """

    def __init__(self, url: str, **settings: str) -> None:
        if find_spec("obstore") is None:
            raise MissingExtra("an object store", "objects")
        if "://" not in url:
            raise DefinitionError(f'"{url}" is no address. Use one such as "s3://bucket/folder".')
        self._url, self._settings = url, settings

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    def put(self, name: str, files: Mapping[str, bytes]) -> str:
        for text, kind in [(name, "blob"), *((file, "file") for file in files)]:
            encode(text, kind)
        hashes = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
        with self._told():
            held = self._head(name) or self._added(name, files, hashes)
        if held.files != hashes:
            raise taken(name)
        return digest(files)

    def get(self, name: str) -> dict[str, bytes]:
        encode(name, "blob")
        with self._told():
            head = self._head(name)
            if head is None:
                raise NotFound("blob", name, self.names())
            return {file: self._checked(name, head, file, sha) for file, sha in head.files.items()}

    def names(self, prefix: str = "") -> list[str]:
        with self._told():
            found = [item["path"] for page in self._store.list(f"{HEADS}/") for item in page]
        names = (path.removeprefix(f"{HEADS}/").replace(SLASH, "/") for path in found)
        return sorted(name for name in names if name.startswith(prefix))

    def delete(self, name: str) -> None:
        with self._told():
            head = self._head(name)
            if head is None:
                return
            self._remove(_place(name))
            for file in head.files:
                self._remove(f"{head.folder}/{encode(file, 'file')}")

    def _added(self, name: str, files: Mapping[str, bytes], hashes: dict[str, str]) -> Head:
        """Store files and their head; return the head that is there then, which may be another writer's."""
        from obstore.exceptions import AlreadyExistsError

        head = Head(f"{PARTS}/{uuid.uuid4().hex}", hashes)
        for file, data in files.items():
            self._store.put(f"{head.folder}/{encode(file, 'file')}", data)
        try:
            self._store.put(_place(name), msgspec.json.encode(head), mode="create")
        except AlreadyExistsError:
            for file in files:
                self._remove(f"{head.folder}/{encode(file, 'file')}")
            return self._head(name) or self._added(name, files, hashes)
        return head

    def _head(self, name: str) -> Head | None:
        data = self._read(_place(name))
        if data is None:
            return None
        try:
            return msgspec.json.decode(data, type=Head)
        except msgspec.MsgspecError as error:
            raise changed(name, str(error)) from error

    def _checked(self, name: str, head: Head, file: str, sha: str) -> bytes:
        data = self._read(f"{head.folder}/{encode(file, 'file')}")
        if data is None:
            raise changed(name, f"{file} is missing")
        if hashlib.sha256(data).hexdigest() != sha:
            raise changed(name, f"{file} has another sha256")
        return data

    def _read(self, place: str) -> bytes | None:
        try:
            return bytes(self._store.get(place).bytes())
        except FileNotFoundError:
            return None

    def _remove(self, place: str) -> None:
        with suppress(FileNotFoundError):
            self._store.delete(place)

    @cached_property
    def _store(self) -> Any:
        from obstore import store

        open_store: Any = store.from_url
        more: dict[str, Any] = {}
        if self._url.startswith("file:"):
            more = {"mkdir": True}
        else:
            http = {"timeout": "30s", "connect_timeout": "5s"}
            plain = self._settings.get("endpoint", "").startswith("http://")
            more["client_options"] = http | ({"allow_http": True} if plain else {})
            more["retry_config"] = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
        try:
            return open_store(self._url, **self._settings, **more)
        except Exception as error:  # a setting or a scheme that the library does not know
            raise DefinitionError(f"{self!r} cannot be used: {str(error)[:300]}") from error

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raise what the library says as one of ours."""
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError as error:
            raise Unavailable(f"{self!r}: there is no such bucket or folder.") from error
        except BaseError as error:
            text = " ".join(str(error).partition("Debug source")[0].split())[:300]
            raise Unavailable(f"{self!r} does not answer, or refuses: {text}") from error


def _place(name: str) -> str:
    """Return where the head of a blob lies."""
    return f"{HEADS}/{encode(name, 'blob')}"
