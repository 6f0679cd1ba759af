"""What a client sends: times and missing values of numpy and pandas as the service reads them."""

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf

import msgspec
import numpy as np
import pandas as pd
import pytest

from tenfold.core.errors import SchemaError
from tenfold.serving.sending import body


def sent(value):
    return json.loads(body({"at": value}))["at"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.datetime64("2024-05-01"), "2024-05-01T00:00:00.000000+00:00"),
        (np.datetime64("2024-05"), "2024-05-01T00:00:00.000000+00:00"),
        (np.datetime64("2024-05-01T06:07:08", "s"), "2024-05-01T06:07:08.000000+00:00"),
        (np.datetime64("2024-05-01T06:07:08.009", "ms"), "2024-05-01T06:07:08.009000+00:00"),
        (np.datetime64("2024-05-01T06:07:08.000009", "us"), "2024-05-01T06:07:08.000009+00:00"),
        (np.datetime64("2024-05-01T06:07:08.000009999", "ns"), "2024-05-01T06:07:08.000009+00:00"),
        (np.datetime64(-1, "ns"), "1969-12-31T23:59:59.999999+00:00"),
        (np.array("2024-05-01", "datetime64[ns]"), "2024-05-01T00:00:00.000000+00:00"),
    ],
)
def test_a_time_of_numpy_is_sent_as_utc_in_every_unit(value, text):
    assert sent(value) == text


def test_an_array_of_times_is_sent_as_their_texts():
    times = np.array([["2024-05-01", "NaT"]], "datetime64[ns]")
    assert sent(times) == [["2024-05-01T00:00:00.000000+00:00", None]]


@pytest.mark.parametrize(
    "missing", [pd.NaT, pd.NA, np.datetime64("NaT"), np.datetime64("NaT", "ns"), np.datetime64("NaT", "D")]
)
def test_a_missing_value_is_sent_as_null(missing):
    assert sent(missing) is None
    assert sent(np.array([missing])) == [None]


@pytest.mark.parametrize("year", ["0000-12-31", "10000-01-01"])
def test_a_time_that_no_datetime_holds_is_refused(year):
    with pytest.raises(SchemaError, match=rf"the time {year} is not in the years 1 to 9999\. Send dicts"):
        body({"at": np.datetime64(year)})


def test_times_of_pandas_and_python_stay_what_they_are():
    """One without a time zone has none on its way either: the service says so."""
    assert sent(pd.Timestamp("2024-05-01T06:00:00")) == "2024-05-01T06:00:00"
    assert sent(datetime(2024, 5, 1, 6)) == "2024-05-01T06:00:00"  # noqa: DTZ001 - that is the point
    assert sent(pd.Timestamp("2024-05-01T06:00:00", tz="UTC")) == "2024-05-01T06:00:00+00:00"
    assert sent(datetime(2024, 5, 1, 6, tzinfo=UTC)) == "2024-05-01T06:00:00Z"


def test_numbers_of_numpy_are_sent_as_numbers_beside_them():
    row = {"a": np.int64(3), "b": np.float32(1.5), "c": np.bool_(True), "d": np.nan, "e": np.array([1, 2])}
    assert json.loads(body(row)) == {"a": 3, "b": 1.5, "c": True, "d": None, "e": [1, 2]}


def test_a_type_of_numpy_itself_is_refused():
    with pytest.raises(SchemaError, match="a value is of type numpy"):
        body({"a": np.add})


def test_rows_of_plain_values_are_encoded_as_they_were():
    row = {"a": 1, "b": "text", "c": None, "d": [1.5, True], "at": datetime(2024, 5, 1, tzinfo=UTC)}
    assert body([row]) == msgspec.json.encode([row])


def test_neither_numpy_nor_pandas_is_loaded_for_it():
    code = "import sys, tenfold.serving.sending; print({'numpy', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


@dataclass
class Order:
    amount: float


@pytest.mark.parametrize(
    "content",
    [Order(inf), [{"amounts": {1.0, inf}}], {"a": np.array([[1.0, -inf]])}, {"a": [np.float32(inf)]}],
)
def test_a_number_that_is_infinite_is_refused_wherever_it_is(content):
    with pytest.raises(SchemaError, match="a number is infinite"):
        body(content)
