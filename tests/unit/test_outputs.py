"""What becomes of a score is declared with the model, means the same everywhere, and needs no training to change."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated

import numpy as np
import pytest

from tenfold import Derived, Events, FeatureView, Label, Model, Platform, Project, Release, col
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import DefinitionError
from tenfold.core.times import to_us
from tenfold.processing.batches import to_table
from tenfold.serving.answer import service
from tenfold.serving.answer.answers import Said
from tenfold.serving.answer.outputs import Deciding
from tenfold.serving.answer.predictions import BATCH, NO_CLASSES, ONLINE, TOPIC, nothing, read
from tenfold.serving.rows.plan import Known
from tests.examples import tiny

RULES = {
    "large": col("amount") > 10,
    "odd": col("amount") > 2 * tiny.shop_visits["minutes_1d"],
    "expected": col("score") * col("amount"),
    "action": (col("large") & col("decision")).then("call", col("odd").then("look", "pass")),
    "few": col("items").coalesce(0) < 2,
    "until": col("due").offset_by("2h"),
    "answered_by": col("version"),
    "wait": col("placed").age("h"),
}


def model(outputs):
    return tiny.model([tiny.shop_visits, tiny.this_order], outputs=outputs)


ruled = model(RULES)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ruled")
    tiny.build(folder)  # trained without any outputs
    return folder


def opened(home, *models):
    releases = [Release(one) for one in models or (ruled,)]
    return Project("tiny", releases=releases).open(Platform(home=home, clock=VirtualClock(tiny.ASK_AT)))


ROWS = [
    tiny.order(
        f"r{place}", amount=1.0 + place, items=[None, 1, 5][place % 3], shop=["a", "b", "new"][place % 3]
    )
    for place in range(30)
]


@pytest.mark.parametrize("few", [0, 10_000], ids=["as columns", "one by one"])
def test_one_row_and_many_have_the_same_outputs_in_answer_and_log(home, few, monkeypatch):
    monkeypatch.setattr(service, "FEW", few)
    with opened(home) as app:
        app.ingest("visits", [tiny.visit(shop, shop=shop, minutes=2.0) for shop in "ab"], key="seen")
        app.clock.set(tiny.ASK_AT + 1)
        together = app.predict_many(ruled, ROWS, key=f"many {few}")
        alone = [app.predict(ruled, row, key=f"alone {few} {place}") for place, row in enumerate(ROWS)]
        assert [one["outputs"] for one in together] == [one["outputs"] for one in alone]
        assert {one["outputs_by"] for one in together + alone} == {ruled.rules.by}
        stored = {
            row["prediction_id"]: row
            for batch in app.log.read(TOPIC, 0)
            for row in to_table(batch).to_pylist()
        }
        for one in together + alone:
            row = stored[one["prediction_id"]]
            assert (json.loads(row["outputs"]), row["outputs_by"]) == (one["outputs"], ruled.rules.by)
            assert json.loads(row["answer"]) == one
        app.flush()
        logged = read(app.lake, "late_order", ONLINE, 0, tiny.ASK_AT + 5)
        assert set(logged.output("action")) == {"call", "look", "pass"}
        assert app.predict(ruled, ROWS[0], key=f"alone {few} 0") == alone[0]


def test_what_the_rules_say(home):
    with opened(home) as app:
        app.ingest("visits", [tiny.visit("v", shop="a", minutes=4.0)], key="v")
        answer = app.predict(ruled, tiny.order("said", shop="a", amount=12.5, items=1))
    due = tiny.NOW + timedelta(hours=1)
    assert answer["outputs"] == {
        "large": True,
        "odd": answer["outputs"]["odd"],
        "expected": answer["score"] * 12.5,
        "action": "call" if answer["decision"] else "look",
        "few": True,
        "until": (due + timedelta(hours=2)).isoformat(),
        "answered_by": answer["version"],
        "wait": pytest.approx(20 * 24.0),
    }


def test_a_rule_that_is_null_says_null(home):
    with opened(home) as app:
        answer = app.predict(ruled, tiny.order("null", shop="never seen", amount=1.0))
    assert answer["outputs"]["odd"] is None
    assert answer["outputs"]["action"] == "pass"


def test_batch_scoring_has_the_same_outputs(home):
    start, end = tiny.START + timedelta(days=3), tiny.START + timedelta(days=9)
    with opened(home) as app:
        found = app.score(ruled, start, end)
        assert len(found) > 50
        assert set(found.outputs_by) == {ruled.rules.by}
        amounts = {row["order_id"]: row["amount"] for row in tiny.history()["orders"]}
        expected = [score * amounts[name] for score, name in zip(found.score.tolist(), found.on, strict=True)]
        assert found.output("expected") == expected
        assert found.output("large") == [amounts[name] > 10 for name in found.on]
        app.flush()
        logged = read(app.lake, "late_order", BATCH, 0, tiny.ASK_AT)
        assert logged.take(np.arange(len(found))).outputs == found.outputs
        assert app.matured(ruled, to_us(start), to_us(end)).predictions.output("large") == found.output(
            "large"
        )


def test_other_rules_need_no_other_version(home):
    stricter = model({"large": col("amount") > 5})
    plain = model({})
    assert ruled.fingerprint == stricter.fingerprint == plain.fingerprint
    assert len({ruled.rules.by, stricter.rules.by, plain.rules.by}) == 3
    assert plain.rules.by == ""
    with opened(home, stricter) as app:
        answer = app.predict(stricter, tiny.order("stricter", amount=6.0))
        assert answer["outputs"] == {"large": True}
        assert answer["outputs_by"] == stricter.rules.by
    with opened(home, plain) as app:
        assert not {"outputs", "outputs_by"} & app.predict(plain, tiny.order("plain")).keys()
        app.flush()
        assert read(app.lake, "late_order", ONLINE, 0, tiny.ASK_AT + 5).output("large")[-1] is None


def test_the_order_and_the_meaning_make_the_hash():
    one, two = (
        {"a": col("score") > 0.5, "b": col("amount") > 1},
        {"b": col("amount") > 1, "a": col("score") > 0.5},
    )
    assert model(one).rules.by == model(dict(one)).rules.by
    assert model(one).rules.by != model(two).rules.by


WRONG = [
    ({"amount": col("score") > 1}, 'has the name of a field of the spine. .* for example "amount_shown"'),
    ({"score": col("amount") > 1}, 'has the name of what the model says. .* for example "final_score"'),
    ({"x": col("amont") > 1}, 'reads column "amont", which is not there. Did you mean "amount"'),
    ({"x": col("later") > 1, "later": col("score")}, 'reads column "later", which is not there'),
    ({"x": tiny.shop_visits["visits_1d"] > "a"}, "does not fit columns of type int and str"),
    ({"x": col("amount").sum(window="1d")}, "Use it in a feature view"),
    ({"x": 5}, "is 5, not an expression"),
    ({"X": col("score")}, 'output name "X" is not lower-case'),
    ({"x": col("prediction")}, 'is there for several classes. Write col."decision".'),
    ({"x": col("probability.a")}, 'reads column "probability.a", which is not there'),
    ([col("score")], "is not a dict"),
]


@pytest.mark.parametrize(("outputs", "message"), WRONG, ids=str)
def test_what_cannot_be_an_output_is_refused_where_it_is_declared(outputs, message):
    with pytest.raises(DefinitionError, match=message):
        model(outputs)


def test_features_that_the_model_is_not_given_cannot_be_read():
    other = FeatureView("other", source=tiny.orders, features={"amount": col("amount")})
    with pytest.raises(
        DefinitionError, match=r'reads "other.amount", which is not a feature .* add it to features'
    ):
        model({"x": other["amount"] > 1})


class Bill:
    bill: str
    price: Annotated[Decimal, 2]
    score: int
    tip: Annotated[Decimal, 2] | None
    at: datetime


bills = Events("bills", Bill, time="at", id="bill")
paid = Derived("paid", source=bills, added={"whole": col("price") + col("tip"), "net": col("price") * 2})
bill = FeatureView("bill", source=paid, features={"price": col("price"), "whole": col("whole")})


def of_bills(outputs):
    return Model(
        "bills", spine=paid, features=[bill], label=Label(bills, on="bill", value=col("price"), horizon="1d"),
        outputs=outputs,
    )  # fmt: skip


def test_a_field_with_the_name_of_what_the_model_says_may_not_be_read():
    with pytest.raises(DefinitionError, match=r'both a field of the spine .* for example to "row_score"'):
        of_bills({"x": col("score") > 1})
    with pytest.raises(DefinitionError, match=r'decides nothing. Compare col."score".'):
        of_bills({"x": col("decision")})


def both(chosen, rows, said, known):
    """Return what the row form and the column form make of rows of the spine's root, features as Python values."""
    from tenfold.core.decimals import PLACES, units_of
    from tenfold.processing.derive import apply
    from tenfold.processing.frame import column

    deciding = Deciding(chosen)
    fields, names = chosen.spine.root.fields, list(chosen.columns)
    alone = [
        deciding.one(row, Known(7, names, given, [], []), part(said, place), 3)
        for place, (row, given) in enumerate(zip(rows, known, strict=True))
    ]
    root = {name: column(item.type, [row[name] for row in rows]) for name, item in fields.items()}

    def units(value, kind):
        return value if value is None or kind not in PLACES else units_of(value, PLACES[kind])

    features = {
        name: column(kind, [units(given[place], kind) for given in known])
        for place, (name, kind) in enumerate(chosen.columns.items())
    }
    frame = apply(chosen.spine, root, len(rows))[0]
    versions = np.full(len(rows), 3)
    many = deciding.many(lambda: frame, np.full(len(rows), 7), lambda: features, said, versions)
    return alone, many


def part(said, place):
    several = said.probabilities[place : place + 1] if said.classes else NO_CLASSES
    return Said(said.score[place : place + 1], said.decision[place : place + 1], several, said.classes)


def test_decimals_derived_columns_and_nulls_are_the_same_for_one_and_for_many():
    chosen = of_bills(
        {
            "total": col("whole") + bill["price"],
            "half": bill["whole"] / 2,
            "net_shown": col("net"),
            "v": col("version"),
        }
    )
    rows = [
        {
            "bill": f"b{place}",
            "price": 1230 + place,
            "score": 1,
            "tip": None if place % 2 else 17,
            "at": place,
        }
        for place in range(5)
    ]
    known = [[Decimal("12.30"), None if place % 3 else Decimal("7.01")] for place in range(5)]
    said = Said(np.array([0.5, np.nan, np.inf, -0.0, 1.0]), np.full(5, None, dtype=object), NO_CLASSES, ())
    alone, many = both(chosen, rows, said, known)
    assert alone == many
    assert json.loads(alone[0]) == {"total": "24.77", "half": 3.505, "net_shown": "24.60", "v": 3}
    assert json.loads(alone[1]) == {"total": None, "half": None, "net_shown": "24.62", "v": 3}


def test_what_is_no_number_is_null_and_zero_keeps_its_sign():
    chosen = tiny.model(
        [tiny.this_order], outputs={"s": col("score"), "d": col("decision"), "twice": 2 * col("score")}
    )
    rows = [{**dict.fromkeys(tiny.orders.fields), "amount": 1.0}] * 4
    said = Said(np.array([np.nan, np.inf, -0.0, 0.75]), np.array([False, True, False, True]), NO_CLASSES, ())
    alone, many = both(chosen, rows, said, [[1.0, 5]] * 4)
    assert alone == many
    assert alone[0] == '{"s":null,"d":false,"twice":null}'
    assert alone[2] == '{"s":-0.0,"d":false,"twice":-0.0}'


def test_rules_over_classes():
    chosen = Model(
        "states", spine=tiny.orders, lead="1h", features=[tiny.this_order],
        label=Label(tiny.outcomes, on="order_id", value=col("order_id"), horizon="1d"),
        outputs={
            "what": col("prediction").concat("!"),
            "lost": col("probability.on hold") > 0.25,
            "unknown": col("probability.other"),
        },
    )  # fmt: skip
    shares = np.array([[0.75, 0.25], [0.25, 0.75], [np.nan, np.nan]])
    said = Said(shares.max(axis=1), np.full(3, None, dtype=object), shares, ("fine", "on hold"))
    alone, many = both(chosen, [dict.fromkeys(tiny.orders.fields)] * 3, said, [[1.0, 5]] * 3)
    assert alone == many
    assert alone == [
        '{"what":"fine!","lost":false,"unknown":null}',
        '{"what":"on hold!","lost":true,"unknown":null}',
        '{"what":null,"lost":null,"unknown":null}',
    ]


def test_no_predictions_have_no_outputs():
    assert nothing("m", ONLINE).output("x") == []
