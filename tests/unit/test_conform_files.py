"""What fits a declaration and what does not, in files of every known type."""

import pyarrow as pa
import pytest
from pyarrow import parquet

from tenfold.core.errors import SchemaError
from tenfold.processing.conform import KNOWN, conform
from tests.unit.test_conform import GOOD, SALES, US, frame, reasons, values

CSV = """sale_id,amount,items,gift,note,at
007,2.5,3,true,ok,2024-05-01T14:00:00+02:00
NA,2,3.0,,,2024-05-01T12:00:00Z
s3,x,3,true,"two
lines",2024-05-01T12:00:00Z
s4,2.5,3,true,ok,2024-05-01 12:00:00
s5,2.5,3
s6,2.5,NA,perhaps,"",2024-05-01T12:00:00Z
s7,1e400,-1,false,"",2024-05-01T12:00:00Z
s8,.5e1,-1,FALSE,"",2024-05-01T12:00:00Z
"""


def test_a_csv_file_is_read_as_declared(tmp_path):
    path = tmp_path / "sales.CSV"
    path.write_text(CSV)
    found = conform(SALES, path)
    assert values(found) == {
        "sale_id": ["007", "NA", "s8"],
        "amount": [2.5, 2.0, 5.0],
        "items": [3, 3, -1],
        "gift": [True, None, False],
        "note": ["ok", None, ""],
        "at": [US] * 3,
        KNOWN: [US + 3_600_000_000] * 3,
    }
    assert reasons(found) == [
        (2, '"amount" is text, not a number'),
        (3, '"at" has no time zone; write for example 2013-04-01T06:00:00+00:00'),
        (4, '"gift" is text, not true or false'),
        (5, '"amount" is too large for exact sums (2^43)'),
        (7, "a row is text, not an object with named fields"),
    ]
    assert found.rejects[0].row["note"] == "two\nlines"
    assert found.rejects[-1].row == "s5,2.5,3"


def test_a_quote_that_is_not_closed_is_told(tmp_path):
    path = tmp_path / "sales.csv"
    path.write_text(CSV.partition("NA")[0] + '"s2,2,3,true,ok,2024-05-01T12:00:00Z\ns3,2,3\n')
    assert reasons(conform(SALES, path)) == [(1, "a quote is not closed")]


@pytest.mark.parametrize(("sign", "shown"), [(";", "';'"), ("\t", "a tab")], ids=["semicolon", "tab"])
def test_another_separator_is_recognized(tmp_path, sign, shown):
    path = tmp_path / "sales.csv"
    path.write_text(CSV.partition("NA")[0].replace(",", sign))
    with pytest.raises(SchemaError) as error:
        conform(SALES, path)
    assert str(error.value) == (
        f'source "sales" has no column "{sign.join(GOOD)}". Known: amount, at, gift, items, note, sale_id. '
        f"Is the separator {shown}? It must be a comma. Nothing was stored."
    )


def test_a_csv_file_in_another_encoding_loses_only_its_rows(tmp_path):
    path = tmp_path / "sales.csv"
    path.write_bytes((CSV.partition("NA")[0] + "s2,1,1,,né,2024-05-01T12:00:00Z\n").encode("latin-1"))
    found = conform(SALES, path)
    assert found.frame["sale_id"].plain() == ["007"]
    assert reasons(found) == [(1, '"note" is not UTF-8')]


def test_json_lines_are_judged_one_by_one(tmp_path):
    path = tmp_path / "sales.ndjson"
    good = b'{"sale_id": "2024-05-01", "amount": 2.5, "at": "2024-05-01T12:00:00Z"}'
    path.write_bytes(good + b"\n\n{broken\n\xff\n" + good.replace(b"2.5", b'"2.5"') + b"\n")
    found = conform(SALES, str(path))
    assert found.frame["sale_id"].plain() == ["2024-05-01"]
    assert reasons(found) == [
        (1, "a row is text, not an object with named fields"),
        (2, "a row is text, not an object with named fields"),
        (3, '"amount" is text, not a number'),
    ]
    assert [item.row for item in found.rejects[:2]] == ["{broken", "\\xff"]
    (tmp_path / "list.json").write_bytes(b" [" + good + b"," + good + b"]")
    assert conform(SALES, tmp_path / "list.json").rows == 2


def test_a_parquet_file_is_read(tmp_path):
    parquet.write_table(pa.table(frame()), tmp_path / "sales.parquet")
    assert values(conform(SALES, tmp_path / "sales.parquet")) == values(conform(SALES, pa.table(frame())))


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.json"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes({"a.csv": b"", "a.json": b"[{"}.get(name, b"PAR1"))
    with pytest.raises(SchemaError, match=r"a\.\w+\" cannot be read: .* Nothing was stored\."):
        conform(SALES, path)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("cut.json", b'[{"sale_id": "s1"},\n{"sale_id":', "line 2: Input data was truncated"),
        (
            "bad.json",
            b'[{"sale_id": "s1"},\n{"sale_id" 7},\n{}]',
            "line 2: JSON is malformed: expected ':' (byte 31)",
        ),
        ("latin.json", '[{"sale_id": "é"}]'.encode("latin-1"), "it is not UTF-8"),
        (
            "quote.csv",
            b'sale_id,amount\ns1,2\n"s2,3\n' + b"s3,4\n" * 500_000,
            "a quote is not closed, or a row is longer than 1 MB",
        ),
        ("latin.csv", "sale_id,é\n".encode("latin-1"), "it is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(tmp_path, name, content, why):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SchemaError) as error:
        conform(SALES, path)
    assert str(error.value) == f'"{path}" cannot be read: {why}. Nothing was stored.'
