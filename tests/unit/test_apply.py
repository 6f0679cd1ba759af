"""Functions of arrays as part of expressions: what they get, what they return, and what is refused."""

import importlib
import sys
from datetime import datetime

import numpy as np
import pytest

from tenfold import Events, FeatureView, col
from tenfold.core.errors import DefinitionError, SchemaError
from tenfold.core.infer import infer
from tenfold.processing.compiled import compile_row
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import column
from tenfold.processing.to_sql import to_sql
from tests.unit import applied_functions as functions

x, s = col("x"), col("s")


def compute(expr, **columns):
    frame = {name: column(kind, values) for name, (kind, values) in columns.items()}
    return evaluate(expr, frame, len(next(iter(frame.values())))).plain()


def test_the_example_of_word_hashes_is_equal_row_by_row():
    titles = ["red shoes", "", None, "red", "blue hat for red shoes"]
    expr = s.apply(functions.embedding_length, returns="float") / 2
    whole = compute(expr, s=("str", titles))
    row = compile_row({"length": expr}, {"s": "str"})
    assert whole == [row({"s": title})[0] for title in titles]
    assert whole[1:3] == [0.0, None]
    assert whole[0] > 0
    assert infer(expr, {"s": "str"}, "test") == "float"


@pytest.mark.parametrize(
    ("kind", "values", "dtype"),
    [
        ("int", [1, None], "float64"),
        ("float", [1.5, None], "float64"),
        ("bool", [True, None], "float64"),
        ("str", ["a", None], "object"),
        ("time", [1, None], "datetime64[us]"),
    ],
)
def test_what_a_function_gets(kind, values, dtype):
    assert compute(x.apply(functions.kind, returns="str"), x=(kind, values)) == [dtype, dtype]


def test_what_a_function_returns():
    assert compute(x.apply(functions.scaled, returns="int"), x=("int", [1, None])) == [4, None]
    assert compute(x.apply(functions.scaled, returns="float"), x=("bool", [True, None])) == [4.0, None]
    assert compute(s.apply(functions.swapped, returns="str"), s=("str", ["ab", None])) == ["ba", None]
    assert compute(x.apply(functions.nightly, returns="bool"), x=("time", [0, 7 * 3_600_000_000, None])) == [
        True,
        False,
        None,
    ]
    assert compute(x.apply(functions.both, 2, returns="float"), x=("int", [1, None])) == [3.0, None]
    assert compute(x.apply(functions.both, x, returns="int"), x=("int", [2**52])) == [None]
    assert evaluate(x.apply(functions.scaled, returns="int"), {"x": column("int", [])}, 0).plain() == []


@pytest.mark.parametrize(
    ("function", "returns", "text"),
    [
        (
            functions.too_long,
            "float",
            '"too_long" returned an array of shape (3,) for 2 rows. It must return one',
        ),
        (functions.half, "int", '"half" returned 0.5 and is declared with returns="int".'),
        (functions.half, "bool", '"half" returned 0.5 and is declared with returns="bool".'),
        (functions.half, "str", '"half" returned 0.5 in row 0 and is declared with returns="str".'),
        (functions.words, "float", '"words" returned <U1 and is declared with returns="float".'),
    ],
)
def test_a_wrong_result_is_named(function, returns, text):
    with pytest.raises(SchemaError) as caught:
        compute(x.apply(function, returns=returns), x=("int", [1, 2]))
    assert text in str(caught.value)


def closure():
    limit = 3

    def above(values):
        return values > limit

    return above


@pytest.mark.parametrize(
    ("function", "returns", "text"),
    [
        (lambda values: values, "int", "a lambda has no source code of its own"),
        (closure(), "int", 'above" depends on limit of the function around it'),
        (np.abs, "int", "has no Python source code of its own"),
        (
            functions.unhashable,
            "float",
            '"unhashable" reads MATRIX, a ndarray, which its source code does not tell.',
        ),
        (functions.scaled, "number", "returns='number' is not a type."),
    ],
)
def test_what_cannot_be_declared(function, returns, text):
    with pytest.raises(DefinitionError) as caught:
        x.apply(function, returns=returns)
    assert text in str(caught.value)


def test_there_is_no_sql_for_it():
    with pytest.raises(DefinitionError, match="is Python code, which has no SQL"):
        to_sql(x.apply(functions.scaled, returns="int") + 1, {"x": "int"})


SOURCE = """
import numpy as np
from functools import cache
LIMIT = 3

@cache
def kept():
    return 5

def helper(values):
    return values + 1

def function(values):
    return helper(values) * LIMIT + kept()
"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("", "", True),
        ("import numpy as np", "import numpy as np\nOTHER = 1", True),
        ("values + 1", "values + 2", False),
        ("* LIMIT", "/ LIMIT", False),
        ("LIMIT = 3", "LIMIT = 4", False),
        ("return 5", "return 6", False),
    ],
)
def test_the_text_follows_the_source(tmp_path, monkeypatch, old, new, same):
    monkeypatch.syspath_prepend(tmp_path)
    texts = []
    for name, source in (
        ("first_version", SOURCE),
        ("second_version", SOURCE.replace(old, new) if old else SOURCE),
    ):
        tmp_path.joinpath(f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        texts.append(x.apply(importlib.import_module(name).function, returns="int").text)
        del sys.modules[name]
    assert (texts[0] == texts[1]) is same


class Title:
    title_id: str
    s: str
    at: datetime


def test_it_is_a_feature_like_any_other():
    titles = Events("titles", Title, time="at", id="title_id")
    view = FeatureView(
        "words", source=titles, features={"length": s.apply(functions.embedding_length, returns="float")}
    )
    other = FeatureView(
        "words", source=titles, features={"length": s.apply(functions.scaled, returns="float")}
    )
    assert view.fingerprint != other.fingerprint
