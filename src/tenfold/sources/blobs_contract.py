# ruff: noqa: S101, D103  asserting is what checks do, and their names are sentences
"""What every blob store must pass, as plain functions; see `contract.py` for how they are used."""

import re
from collections.abc import Callable

from tenfold.core.errors import Conflict, DefinitionError, NotFound
from tenfold.sources.base import Blobs
from tenfold.sources.blobs import digest
from tenfold.sources.contract import THREADS, refused, together

MakeBlobs = Callable[[], Blobs]


def blob_checks() -> list[Callable[[MakeBlobs], None]]:
    """Return the checks of `Blobs`."""
    return [
        blobs_read_back,
        blobs_put_twice_is_fine,
        blobs_never_change,
        blobs_digest_depends_on_names_and_bytes,
        blobs_list_by_prefix,
        blobs_delete_twice,
        blobs_name_what_they_know,
        blobs_refuse_paths_as_names,
        blobs_threads_put_at_once,
        blobs_reopen,
    ]


def blobs_read_back(make: MakeBlobs) -> None:
    blobs = make()
    files = {"model.txt": "é".encode(), "native/trees.bin": bytes(range(256)) * 4_000, "empty": b""}
    assert re.fullmatch("[0-9a-f]{64}", blobs.put("fraud/3", files))
    assert blobs.get("fraud/3") == files


def blobs_put_twice_is_fine(make: MakeBlobs) -> None:
    blobs = make()
    first = blobs.put("fraud/3", {"a": b"1", "b": b"2"})
    assert blobs.put("fraud/3", {"b": b"2", "a": b"1"}) == first
    assert blobs.names() == ["fraud/3"]


def blobs_never_change(make: MakeBlobs) -> None:
    blobs = make()
    blobs.put("fraud/3", {"a": b"1"})
    for files in ({"a": b"2"}, {"a": b"1", "b": b""}, {}):
        assert "fraud/3" in refused(Conflict, blobs.put, "fraud/3", files)
    assert blobs.get("fraud/3") == {"a": b"1"}


def blobs_digest_depends_on_names_and_bytes(make: MakeBlobs) -> None:
    blobs = make()
    contents: list[dict[str, bytes]] = [{"a": b"1"}, {"a": b"2"}, {"b": b"1"}, {"a": b"1", "b": b"1"}]
    assert len({blobs.put(f"m/{place}", files) for place, files in enumerate(contents)}) == 4
    assert blobs.put("other", {"a": b"1"}) == blobs.put("m/0", {"a": b"1"}) == digest({"a": b"1"})


def blobs_list_by_prefix(make: MakeBlobs) -> None:
    blobs = make()
    assert blobs.names() == []
    for name in ("fraud/2", "fraud", "fraud/10", "churn/1"):
        blobs.put(name, {"a": name.encode()})
    assert blobs.names() == ["churn/1", "fraud", "fraud/10", "fraud/2"]
    assert blobs.names("fraud/") == ["fraud/10", "fraud/2"]
    assert blobs.get("fraud/2") == {"a": b"fraud/2"}


def blobs_delete_twice(make: MakeBlobs) -> None:
    blobs = make()
    blobs.put("fraud/3", {"a": b"1"})
    blobs.delete("fraud/3")
    blobs.delete("fraud/3")
    assert blobs.names() == []
    blobs.put("fraud/3", {"a": b"2"})
    assert blobs.get("fraud/3") == {"a": b"2"}


def blobs_name_what_they_know(make: MakeBlobs) -> None:
    blobs = make()
    blobs.put("fraud/3", {"a": b"1"})
    assert refused(NotFound, blobs.get, "fraud/4") == (
        'no blob "fraud/4". Did you mean "fraud/3"? Known: fraud/3.'
    )


def blobs_refuse_paths_as_names(make: MakeBlobs) -> None:
    blobs = make()
    paths = ["../x", "/x", "a//b", "a/", "a/../b", "", ".x"]
    for name in [*paths, "a b", "a\n", "é", "a\0b", "a\\b", "x" * 300]:
        refused(DefinitionError, blobs.put, name, {"a": b""})
        refused(DefinitionError, blobs.put, "fine", {name: b""})
        refused(DefinitionError, blobs.get, name)
        refused(DefinitionError, blobs.delete, name)
    assert blobs.names() == []


def blobs_threads_put_at_once(make: MakeBlobs) -> None:
    blobs = make()

    def put(place: int) -> str:
        try:
            return blobs.put("fraud/3", {"a": b"%d" % (place % 2)})
        except Conflict:
            return ""

    digests = together(put)
    assert digests.count("") == THREADS // 2
    assert len(set(digests)) == 2


def blobs_reopen(make: MakeBlobs) -> None:
    digest = make().put("fraud/3", {"a": b"1"})
    assert make().get("fraud/3") == {"a": b"1"}
    assert make().put("fraud/3", {"a": b"1"}) == digest
