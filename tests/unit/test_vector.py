"""Vectors: what a function of arrays gives when it returns several numbers per row, and what is refused."""

from datetime import datetime

import numpy as np
import pytest

from tenfold import Derived, Entity, Events, FeatureView, Label, Model, col, count
from tenfold.core.errors import DefinitionError, NotFound, SchemaError
from tenfold.processing.compiled import compile_row
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import column
from tenfold.processing.to_sql import to_sql
from tests.unit import applied_functions as functions

x, s = col("x"), col("s")
TEXTS = ["red shoes", "", None, "a blue hat for red shoes", "Übung"] * 7
pair = x.apply(functions.pair, returns="float", size=2)
letters = s.apply(functions.counted, returns="float", size=64)
projected = s.apply(functions.projected, returns="float", size=8, row_by_row=True)


class Review:
    review_id: str
    user: str
    s: str | None
    x: float | None
    at: datetime


reviews = Events("reviews", Review, time="at", id="review_id")
of_user = FeatureView(
    "of_user",
    entity=Entity("user", key="user"),
    source=reviews,
    features={"last": letters.last(), "two": pair.last_n(2), "reviews": count()},
)


def compute(items, kind="str", values=TEXTS, name="s"):
    """Return the items for every row at once, and again for one row after the other."""
    frame, made = {name: column(kind, values)}, {}
    whole = [evaluate(item, frame, len(values), made).plain() for item in items]
    row = compile_row({f"i{place}": item for place, item in enumerate(items)}, {name: kind})
    single = [list(row({name: value})) for value in values]
    return [list(each) for each in zip(*whole, strict=True)], single


@pytest.mark.parametrize("vector", [letters, projected], ids=["by itself", "a product of matrices"])
def test_many_rows_and_one_are_equal_to_the_bit(vector):
    whole, single = compute(vector)
    assert whole == single
    assert len(whole[0]) == len(vector)
    assert any(value for value in whole[0])


def test_a_vector_is_a_sequence_of_expressions():
    assert [item.text[-3:] for item in pair] == ["[0]", "[1]"]
    assert pair[1].text.startswith("apply(x, pair#")
    assert (pair[0] + pair[1]).columns() == {"x"}
    assert pair.lag(2, rows=5)[1].text == f"lag({pair[1].text}, 2, rows=5)"
    assert repr(pair) == f"<a vector of 2 numbers, the first of them {pair[0].text}>"


def test_nulls_come_out_number_by_number():
    assert compute(pair, "float", [1.5, None, 1e308], "x")[0] == [[1.5, 3.0], [None, None], [1e308, None]]
    assert compute(letters)[0][2] == [None] * 64
    assert evaluate(pair[1], {"x": column("float", [])}, 0).plain() == []


def test_whole_numbers_and_conditions():
    ints = x.apply(functions.pair, returns="int", size=2)
    assert compute(ints, "int", [1, None, 2**52], "x")[0] == [[1, 2], [None, None], [2**52, None]]
    with pytest.raises(SchemaError, match=r'"pair" returned 1.5 and is declared with returns="bool"'):
        compute(x.apply(functions.pair, returns="bool", size=2), "float", [1.5], "x")


def test_a_function_of_vectors_gets_arrays_of_two_dimensions():
    alike = letters.apply(functions.cosine, letters, returns="float")
    whole, single = compute([alike])
    assert whole == single
    assert whole[0] == pytest.approx([1.0])
    assert whole[1:3] == [[None], [None]]
    assert "widths=(64, 64)" in alike.text


def test_the_items_share_one_call(monkeypatch):
    calls = []
    spec = pair[0].args[0].args[-1]
    monkeypatch.setattr(spec, "function", lambda values: calls.append(len(values)) or functions.pair(values))
    compute([*pair, pair[0] * pair[1]], "float", [1.0, 2.0, 3.0], "x")
    assert calls == [3, 1, 1, 1, 1, 1, 1]  # all rows, each of them alone to compare, then three requests


FAILS = {
    "another row counts": (
        x.apply(functions.centred, returns="float", size=2),
        '"centred" returned -1.0 as number 1 of its vector for row 0 of 3, and 0.0 when called again with this row alone. '
        "A request asks for one row, so a row must not depend on the others, to the bit. If it cannot, as where sums in "
        "products of matrices are ordered by size, write apply(..., row_by_row=True).",
    ),
    "other bits": (
        x.apply(functions.changing, returns="float"),
        '"changing" returned -0.0 for row 0 of 3, and 0.0 when called again with this row alone.',
    ),
    "one number short": (
        x.apply(functions.pair, returns="float", size=3),
        '"pair" returned an array of shape (3, 2) for 3 rows. It must return 3 numbers per row.',
    ),
    "one value per row": (
        x.apply(functions.scaled, returns="float", size=2),
        '"scaled" returned an array of shape (3,) for 3 rows. It must return 2 numbers per row.',
    ),
    "a vector without a size": (
        x.apply(functions.pair, returns="float"),
        '"pair" returned an array of shape (3, 2) for 3 rows. It must return one value per row.',
    ),
    "rows of different lengths": (
        x.apply(functions.ragged, returns="float", size=2),
        '"ragged" returned rows of different lengths.',
    ),
    "no array": (
        x.apply(functions.nothing, returns="float", size=2),
        '"nothing" returned a NoneType for 3 rows. It must return 2 numbers per row.',
    ),
}


@pytest.mark.parametrize("mistake", FAILS)
def test_what_a_function_may_not_return(mistake):
    vector, text = FAILS[mistake]
    item = vector if isinstance(vector, type(x)) else vector[0]
    with pytest.raises(SchemaError) as caught:
        evaluate(item, {"x": column("float", [1.0, 2.0, 3.0])}, 3)
    assert str(caught.value).startswith(text)


def test_a_row_that_is_not_the_same_twice_is_found_row_by_row_too():
    random = x.apply(functions.random_pair, returns="float", size=2, row_by_row=True)
    with pytest.raises(SchemaError) as caught:
        evaluate(random[0], {"x": column("float", [1.0, 2.0])}, 2)
    assert str(caught.value).endswith(
        "when called again with this row alone. The same row must give the same value again: no random numbers, no state "
        "that a call changes."
    )


VECTOR = f"<a vector of 2 numbers, the first of them {pair[0].text}>"
INSTEAD = 'Take one number of it, such as vector[0], or pass it to a function: vector.apply(function, returns="float").'
REFUSED = {
    "no size": (
        lambda: x.apply(functions.pair, returns="float", size=0),
        "apply: size=0 is not a whole number from 1 to 4,096.",
    ),
    "texts": (
        lambda: x.apply(functions.pair, returns="str", size=2),
        'apply: a vector is of numbers. Write returns="float", or apply one function for each text, without size.',
    ),
    "row by row or not": (
        lambda: x.apply(functions.pair, returns="float", row_by_row=1),
        "apply: row_by_row=1 is neither True nor False.",
    ),
    "an operator": (lambda: pair * 2, f"{VECTOR} cannot be combined with operators. {INSTEAD}"),
    "a comparison": (
        lambda: count(where=pair == 2),
        f"{VECTOR} cannot be combined with operators. {INSTEAD}",
    ),
    "an operator, the other way": (lambda: x + pair, f"{VECTOR} cannot be part of an expression. {INSTEAD}"),
    "a function of one value": (
        lambda: pair.fill_null(0),
        'a vector has no function "fill_null". Known: apply, decayed_sum, first, lag, last, max, mean, min and 3 more. '
        + INSTEAD,
    ),
    "an aggregate of one value": (
        lambda: pair.n_unique(),
        f"n_unique of {VECTOR}: vectors have first, last, lag, sum, mean, min, max, var, std, decayed_sum. For one number "
        "of it, write vector[0].",
    ),
    "a condition": (lambda: count(where=pair), f"where of count is {VECTOR}, not an expression. {INSTEAD}"),
    "a label": (
        lambda: Label(reviews, on="review_id", value=pair, horizon="1d"),
        f'label of source "reviews" is {VECTOR}, not an expression. {INSTEAD}',
    ),
    "an added column": (
        lambda: Derived("d", source=reviews, added={"e": pair}),
        'source "d": column "e" is a vector of 2 numbers, and a column has one. Keep the vector in a variable and use it in '
        "feature views of the source, such as vector.last(), or add one number of it: vector[0].",
    ),
    "a filter": (
        lambda: Derived("d", source=reviews, where=pair),
        f'source "d": where is {VECTOR}, not an expression. {INSTEAD}',
    ),
    "one value per event": (
        lambda: FeatureView("v", source=reviews, entity=Entity("user", key="user"), features={"e": pair}),
        f'feature "v.e[0]" has no aggregate, so there is one value per event, not per key. Write for example {pair[0].text}.last().',
    ),
    "a name twice": (
        lambda: FeatureView("v", source=reviews, features={"e": [pair, pair], "e_1": pair}),
        'two features are named "e_1[0]". Rename "e_1".',
    ),
    "SQL": (
        lambda: to_sql(pair[1] + 1, {"x": "float"}),
        f"{pair[1].text} is Python code, which has no SQL. Evaluate it in tenfold.",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_cannot_be_declared(mistake):
    write, text = REFUSED[mistake]
    with pytest.raises(DefinitionError) as caught:
        write()
    assert str(caught.value) == text


def test_a_view_names_its_numbers():
    assert list(of_user.features)[62:] == [
        "last[62]",
        "last[63]",
        "two_1[0]",
        "two_1[1]",
        "two_2[0]",
        "two_2[1]",
        "reviews",
    ]
    assert [item.text for item in of_user.vector("two_2")] == ["of_user['two_2[0]']", "of_user['two_2[1]']"]
    with pytest.raises(NotFound) as caught:
        of_user["last"]
    assert str(caught.value) == (
        'no feature "last" in feature view "of_user". It is a vector: write vector("last"), or "last[0]" for one number.'
    )
    with pytest.raises(NotFound) as caught:
        of_user.vector("reviews")
    assert str(caught.value) == 'no vector "reviews" in feature view "of_user". Known: last, two_1, two_2.'


def test_a_model_takes_vectors_or_some_of_their_numbers():
    text = FeatureView("text", source=reviews, features={"e": letters})
    model = Model(
        "m",
        spine=reviews,
        features=[text.vector("e"), of_user["two_2[1]"], of_user["reviews"]],
        label=Label(reviews, on="review_id", value=col("x") > 0, horizon="1d"),
        estimator=Nothing(),
    )
    assert list(model.columns) == [
        *(f"text.e[{place}]" for place in range(64)),
        "of_user.two_2[1]",
        "of_user.reviews",
    ]


class Nothing:
    def fit(self, X, y):
        return self


def test_each_option_is_another_feature():
    texts = {
        x.apply(functions.pair, returns="float", size=2)[0].text,
        x.apply(functions.pair, returns="float", size=3)[0].text,
        x.apply(functions.pair, returns="int", size=2)[0].text,
        x.apply(functions.pair, returns="float", size=2, row_by_row=True)[0].text,
        pair.apply(functions.pair, x, returns="float", size=2)[0].text,
        x.apply(functions.pair, pair, returns="float", size=2)[0].text,
    }
    assert len(texts) == 6
    assert pair[0].text == x.apply(functions.pair, returns="float", size=2)[0].text


def test_no_row_of_a_long_batch_is_left_unlooked_at_at_its_ends():
    """The first and the last row are compared with what they are alone, however many rows there are."""
    for place in (0, 9_999):
        values = np.zeros(10_000)
        values[place] = 1.0
        with pytest.raises(SchemaError, match=f"for row {place:,} of 10,000".replace(",", ",?")):
            evaluate(
                x.apply(functions.most_of_all, returns="float"),
                {"x": column("float", values.tolist())},
                10_000,
            )
