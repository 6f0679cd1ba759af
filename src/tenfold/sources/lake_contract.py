# ruff: noqa: S101, D103  asserting is what checks do, and their names are sentences
"""What every lake must pass, as plain functions; see `contract.py` for how they are used."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tenfold.core.errors import DefinitionError, NotFound, SchemaError
from tenfold.sources.base import Lake
from tenfold.sources.contract import THREADS, refused, together

if TYPE_CHECKING:
    import pyarrow as pa

Make = Callable[[], Lake]


def checks() -> list[Callable[[Make], None]]:
    """Return the checks of a `Lake`."""
    return [
        reads_back_every_type,
        orders_by_offset,
        filters_and_selects,
        types_stay_when_no_row_matches,
        keeps_an_empty_append,
        writer_position_is_stored_once,
        a_late_writer_stores_nothing,
        writers_are_apart,
        takes_pieces_as_one_version,
        takes_no_piece_when_it_is_stored,
        replaces_rows_in_one_version,
        a_piece_that_fails_changes_nothing,
        threads_replace_what_is_theirs,
        stores_nothing_that_a_check_refuses,
        checks_again_when_another_was_first,
        old_versions_stay,
        adds_columns,
        refuses_another_type,
        refuses_types_it_would_change,
        refuses_a_position_of_nothing,
        names_what_it_knows,
        refuses_paths_as_names,
        says_which_condition_is_wrong,
        compacts_and_keeps_versions,
        reads_what_many_small_appends_left,
        threads_create_and_append_at_once,
        threads_append_one_position_once,
        reopens,
    ]


def reads_back_every_type(make: Make) -> None:
    lake = make()
    rows = _every_type()
    assert lake.append("payments", rows, writer="w", upto=2)
    assert lake.read("payments").equals(rows)


def orders_by_offset(make: Make) -> None:
    lake = make()
    for upto, offsets in ((1, [5, 4]), (2, [1, 3]), (3, [2, 0])):
        lake.append("payments", _rows(offsets), writer="w", upto=upto)
    assert lake.read("payments")["_offset"].to_pylist() == [0, 1, 2, 3, 4, 5]
    assert lake.read("payments", columns=["name"])["name"].to_pylist() == [f"é{n}" for n in range(6)]


def filters_and_selects(make: Make) -> None:
    lake = make()
    lake.append("payments", _rows(range(10)), writer="w", upto=10)
    found = lake.read(
        "payments", columns=["name", "_offset"], where="_offset >= 8 or name = 'é0' -- the ends"
    )
    assert found.to_pydict() == {"name": ["é0", "é8", "é9"], "_offset": [0, 8, 9]}
    at = lake.read("payments", where="\"at\" = TIMESTAMPTZ '1970-01-01 00:00:00.000007+00'")
    assert at["_offset"].to_pylist() == [7]


def types_stay_when_no_row_matches(make: Make) -> None:
    lake = make()
    rows = _every_type()
    lake.append("payments", rows, writer="w", upto=2)
    found = lake.read("payments", where="_offset > 1000")
    assert found.num_rows == 0
    assert found.schema.equals(rows.schema)


def keeps_an_empty_append(make: Make) -> None:
    lake = make()
    assert lake.append("payments", _rows([]), writer="w", upto=4)
    assert lake.position("payments", "w") == 4
    assert lake.read("payments").equals(_rows([]))


def writer_position_is_stored_once(make: Make) -> None:
    lake = make()
    assert lake.position("payments", "w") == 0
    assert lake.append("payments", _rows([0, 1]), writer="w", upto=2)
    version = lake.version("payments")
    for upto in (2, 1):
        assert not lake.append("payments", _rows([7]), writer="w", upto=upto)
    assert (lake.version("payments"), lake.position("payments", "w")) == (version, 2)
    assert lake.append("payments", _rows([2]), writer="w", upto=3)
    assert lake.read("payments").equals(_rows([0, 1, 2]))
    assert lake.position("payments", "w") == 3


def a_late_writer_stores_nothing(make: Make) -> None:
    lake = make()
    assert not lake.append("payments", _rows([2]), writer="w", upto=3, after=2)
    assert lake.append("payments", _rows([0, 1]), writer="w", upto=2, after=0)
    assert not lake.append("payments", _rows([0, 1, 2]), writer="w", upto=3, after=0)
    assert lake.append("payments", _rows([2]), writer="w", upto=3, after=2)
    assert lake.read("payments").equals(_rows([0, 1, 2]))


def writers_are_apart(make: Make) -> None:
    lake = make()
    assert lake.append("payments", _rows([0]), writer="a", upto=5)
    assert lake.append("payments", _rows([1]), writer="b", upto=5)
    assert lake.append("labels", _rows([2]), writer="a", upto=5)
    assert lake.read("payments").equals(_rows([0, 1]))
    assert lake.read("labels").equals(_rows([2]))
    assert lake.position("labels", "b") == 0


def takes_pieces_as_one_version(make: Make) -> None:
    import pyarrow as pa

    lake = make()
    pieces = [_rows([0, 1]), _rows([]), _rows([2])]
    assert lake.append("payments", iter(pieces), writer="w", upto=3)
    version = lake.version("payments")
    assert lake.read("payments").equals(_rows([0, 1, 2]))
    wider = pa.table({"_offset": [3], "country": ["FR"]})
    assert lake.append("payments", iter([wider]), writer="w", upto=4)
    assert lake.read("payments", columns=["country"])["country"].to_pylist() == [None, None, None, "FR"]
    assert lake.read("payments", version=version).equals(_rows([0, 1, 2]))
    assert "int64" in refused(
        SchemaError, lake.append, "payments", iter([pa.table({"_offset": ["1"]})]), writer="w", upto=5
    )


def takes_no_piece_when_it_is_stored(make: Make) -> None:
    lake = make()
    lake.append("payments", _rows([0]), writer="w", upto=2)
    pieces = map(_rows, [[7], [8]])
    assert not lake.append("payments", pieces, writer="w", upto=2, instead="_offset = 0")
    assert next(pieces).equals(_rows([7]))
    assert lake.read("payments").equals(_rows([0]))


def replaces_rows_in_one_version(make: Make) -> None:
    lake = make()
    assert lake.append("payments", iter([_rows(range(5))]), writer="a", upto=5)
    assert lake.append("payments", iter([_rows([7, 8])]), writer="b", upto=9)
    before = lake.version("payments")
    assert lake.append("payments", iter([_rows([1])]), writer="c", upto=1, instead="_offset IN (0, 3, 7, 8)")
    assert lake.read("payments").equals(_rows([1, 1, 2, 4]))
    assert lake.read("payments", version=before).equals(_rows([0, 1, 2, 3, 4, 7, 8]))
    assert lake.append("payments", iter([]), writer="c", upto=2, instead="name = 'é1'")
    assert lake.read("payments").equals(_rows([2, 4]))
    assert lake.append("payments", _rows([5]), writer="c", upto=3, instead="_offset = 99")
    assert lake.append("payments", iter([]), writer="c", upto=4)
    assert lake.read("payments").equals(_rows([2, 4, 5]))
    assert [lake.position("payments", writer) for writer in "abc"] == [5, 9, 4]
    assert "nam = 1" in refused(
        DefinitionError, lake.append, "payments", iter([]), writer="c", upto=5, instead="nam = 1"
    )


def a_piece_that_fails_changes_nothing(make: Make) -> None:
    lake = make()
    lake.append("payments", _rows([0]), writer="w", upto=1)

    def pieces() -> "Iterator[pa.Table]":
        yield _rows([1])
        raise DefinitionError("no more")

    refused(DefinitionError, lake.append, "payments", pieces(), writer="w", upto=2, instead="_offset = 0")
    assert lake.read("payments").equals(_rows([0]))
    assert lake.position("payments", "w") == 1
    assert lake.append("payments", iter([_rows([1])]), writer="w", upto=2, instead="_offset = 0")
    assert lake.read("payments").equals(_rows([1]))


def threads_replace_what_is_theirs(make: Make) -> None:
    lake = make()
    lake.append("t", _rows(range(THREADS)), writer="w", upto=1)

    def write(mine: int) -> list[bool]:
        asked = f"_offset % {THREADS} = {mine}"
        return [
            lake.append("t", iter([_rows([mine + n * THREADS])]), writer=f"w{mine}", upto=n, instead=asked)
            for n in (1, 2)
        ]

    assert together(write) == [[True] * 2] * THREADS
    assert lake.read("t").equals(_rows(range(2 * THREADS, 3 * THREADS)))


def stores_nothing_that_a_check_refuses(make: Make) -> None:
    lake = make()
    lake.append("t", _rows([0]), writer="w", upto=1)

    def check() -> None:
        raise DefinitionError("not now")

    for instead in ("", "_offset = 0"):
        how: dict[str, Any] = {"writer": "w", "upto": 2, "check": check, "instead": instead}
        refused(DefinitionError, lake.append, "t", iter([_rows([1])]), **how)
    assert lake.read("t").equals(_rows([0]))
    assert lake.position("t", "w") == 1


def checks_again_when_another_was_first(make: Make) -> None:
    lake, seen = make(), []
    lake.append("t", _rows([0]), writer="w", upto=1)

    def check() -> None:
        seen.append(make().read("t").num_rows)
        if len(seen) == 1:
            make().append("t", iter([_rows([1])]), writer="v", upto=1, check=lambda: None)

    assert lake.append("t", iter([_rows([2])]), writer="w", upto=2, check=check)
    assert seen == [1, 2]
    assert lake.read("t").equals(_rows([0, 1, 2]))


def old_versions_stay(make: Make) -> None:
    lake = make()
    assert lake.version("payments") == -1
    versions = []
    for upto in (1, 2, 3):
        lake.append("payments", _rows([upto]), writer="w", upto=upto)
        versions.append(lake.version("payments"))
    assert versions == sorted(set(versions))
    for count, version in enumerate(versions, start=1):
        assert lake.read("payments", version=version).equals(_rows(range(1, count + 1)))
    assert '"99"' in refused(NotFound, lake.read, "payments", version=99)
    assert '"-1"' in refused(NotFound, lake.read, "payments", version=-1)


def adds_columns(make: Make) -> None:
    import pyarrow as pa

    lake = make()
    lake.append("payments", _rows([0]), writer="w", upto=1)
    before = lake.version("payments")
    lake.append("payments", pa.table({"_offset": [1], "country": ["FR"]}), writer="w", upto=2)
    lake.append("payments", _rows([2]), writer="w", upto=3)
    found = lake.read("payments", columns=["_offset", "name", "country"])
    assert found.to_pydict() == {
        "_offset": [0, 1, 2],
        "name": ["é0", None, "é2"],
        "country": [None, "FR", None],
    }
    assert lake.read("payments", version=before).equals(_rows([0]))
    held = lake.columns("payments")
    assert held.types == lake.read("payments").schema.types
    assert [item.name for item in held if not item.nullable] == ["_offset"]


def refuses_another_type(make: Make) -> None:
    import pyarrow as pa

    lake = make()
    lake.append("payments", _rows([0]), writer="w", upto=1)
    wrong = pa.table({"_offset": ["1"]})
    message = refused(SchemaError, lake.append, "payments", wrong, writer="w", upto=2)
    assert "int64" in message
    assert "string" in message
    assert lake.position("payments", "w") == 1


def refuses_types_it_would_change(make: Make) -> None:
    import pyarrow as pa

    lake = make()
    kinds = (pa.timestamp("ns", "UTC"), pa.timestamp("us"), pa.uint64(), pa.large_string(), pa.null())
    for kind in kinds:
        rows = pa.table({"x": pa.array([None], kind)})
        assert str(kind) in refused(SchemaError, lake.append, "payments", rows, writer="w", upto=1)
    assert lake.version("payments") == -1


def refuses_a_position_of_nothing(make: Make) -> None:
    lake = make()
    assert "upto=0" in refused(SchemaError, lake.append, "payments", _rows([0]), writer="w", upto=0)


def names_what_it_knows(make: Make) -> None:
    lake = make()
    lake.append("payments", _rows([0]), writer="w", upto=1)
    for ask in (lake.read, lake.columns, lake.compact):
        assert (
            refused(NotFound, ask, "payment")
            == 'no table "payment". Did you mean "payments"? Known: payments.'
        )
    assert 'Did you mean "name"?' in refused(NotFound, lake.read, "payments", columns=["nam"])


def refuses_paths_as_names(make: Make) -> None:
    lake = make()
    for name in ("../payments", "/payments", "Payments", "a/b", "", ".hidden", "1a", "a\n"):
        refused(DefinitionError, lake.append, name, _rows([0]), writer="w", upto=1)
        refused(DefinitionError, lake.read, name)


def says_which_condition_is_wrong(make: Make) -> None:
    lake = make()
    lake.append("payments", _rows([0]), writer="w", upto=1)
    for where in ("nam = 'x'", "_offset >", "_offset > 'x'"):
        assert where in refused(DefinitionError, lake.read, "payments", where=where)


def compacts_and_keeps_versions(make: Make) -> None:
    lake = make()
    for upto in range(1, 7):
        lake.append("payments", _rows([upto]), writer="w", upto=upto)
    version = lake.version("payments")
    assert lake.compact("payments") == {"files_before": 6, "files_after": 1}
    for asked in (None, version):
        assert lake.read("payments", version=asked).equals(_rows(range(1, 7)))
    assert lake.read("payments", version=version - 4).equals(_rows([1, 2]))
    assert lake.compact("payments") == {"files_before": 1, "files_after": 1}
    assert not lake.append("payments", _rows([6]), writer="w", upto=6)


def reads_what_many_small_appends_left(make: Make) -> None:
    lake = make()
    for upto in range(1, 41):
        lake.append("payments", _rows([upto]), writer="w", upto=upto)
        if upto == 30:
            version = lake.version("payments")
    assert lake.read("payments", version=version).equals(_rows(range(1, 31)))
    for one in (lake, make()):
        assert one.read("payments").equals(_rows(range(1, 41)))


def threads_create_and_append_at_once(make: Make) -> None:
    lake = make()
    writers = range(THREADS)

    def write(writer: int) -> list[bool]:
        return [lake.append("t", _rows([10 * n + writer]), writer=f"w{writer}", upto=n) for n in (1, 2, 3)]

    assert together(write) == [[True] * 3] * THREADS
    assert lake.read("t").equals(_rows(sorted(10 * n + writer for n in (1, 2, 3) for writer in writers)))


def threads_append_one_position_once(make: Make) -> None:
    lake = make()
    won = together(lambda _: [lake.append("t", _rows([upto]), writer="w", upto=upto) for upto in (1, 2, 3)])
    assert [sum(wins) for wins in zip(*won, strict=True)] == [1, 1, 1]
    assert lake.read("t").equals(_rows([1, 2, 3]))


def reopens(make: Make) -> None:
    make().append("payments", _rows([0]), writer="w", upto=1)
    again = make()
    assert again.read("payments").equals(_rows([0]))
    assert again.position("payments", "w") == 1
    assert not again.append("payments", _rows([0]), writer="w", upto=1)


def _rows(offsets: Sequence[int]) -> "pa.Table":
    import pyarrow as pa

    offsets = list(offsets)
    return pa.table(
        {
            "_offset": pa.array(offsets, pa.int64()),
            "name": pa.array([f"é{offset}" for offset in offsets], pa.string()),
            "at": pa.array(offsets, pa.timestamp("us", "UTC")),
        }
    )


def _every_type() -> "pa.Table":
    import pyarrow as pa

    whole = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
    columns = {
        "text": pa.array(["é 支払い \U0001f600", None]),
        "at": pa.array([2**50 + 1, None], pa.timestamp("us", "UTC")),
        "_offset": pa.array([0, 1], pa.int64()),
        **{str(kind): pa.array([-(2 ** (kind.bit_width - 1)), None], kind) for kind in whole},
        "double": pa.array([0.1, -0.0]),
        "float": pa.array([0.1, None], pa.float32()),
        "flag": pa.array([True, None]),
        "bytes": pa.array([b"\x00\xff", None]),
        "day": pa.array([19_000, None], pa.date32()),
        "price": pa.array(["1.25", None]).cast(pa.decimal128(12, 2)),
        "list": pa.array([[0.5, None], None], pa.list_(pa.float64())),
        "struct": pa.array([{"a": 1, "b": "é"}, {"a": None, "b": None}]),
        "Quoted \"name'": pa.array([1, 2]),
    }
    return pa.table(columns)
