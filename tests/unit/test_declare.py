"""Every mistake in a declaration is found where it is written, and the message says what to type instead."""

import pytest

from tenfold import Derived, Entity, Events, Label, Project, Release, Table, col, count
from tenfold.core.errors import DefinitionError, NotFound
from tests.unit.declared import (
    Learner,
    Odd,
    Payment,
    Visit,
    by_card,
    events,
    frauds,
    model,
    odd,
    payments,
    schema,
    view,
)

WRONG = {
    "a name with capitals": (
        lambda: Events("Payments", Payment, time="at", id="payment_id"),
        'source name "Payments" is not lower-case letters, digits and underscores, for example "late_departures".',
    ),
    "a name that is a private one": (
        lambda: view({"_x": count(window="1h")}),
        'feature name "_x" is not lower-case letters, digits and underscores, for example "late_departures".',
    ),
    "a schema that is not a class": (
        lambda: events({"amount": float}),
        "source \"payments\": the schema {'amount': <class 'float'>} is not a class. "
        "Write a class with lines such as `amount: float`.",
    ),
    "a schema without annotations": (
        lambda: events(type("Blank", (), {"amount": 1.0})),
        'source "payments": the schema Blank has no annotated fields. Write a class with lines such as `amount: float`.',
    ),
    "a field that is a list": (
        lambda: events(schema(amounts="list[float]")),
        'source "payments": field "amounts" has type list[float], which is not one of int, float, bool, str, '
        "datetime, Annotated[Decimal, 2], each optionally with `| None`.",
    ),
    "a field of two types": (
        lambda: events(schema(amount="int | float")),
        'source "payments": field "amount" has type int | float, which is not one of int, float, bool, str, '
        "datetime, Annotated[Decimal, 2], each optionally with `| None`.",
    ),
    "a type that is not known": (
        lambda: events(schema(amount="Money")),
        "source \"payments\": the schema Thing names a type that cannot be found (name 'Money' is not defined). "
        "Define the schema at the top level of its module.",
    ),
    "fields that differ in capitals": (
        lambda: events(schema(Amount="float", amount="float")),
        'source "payments": two fields of Thing differ only in capitals, which SQL does not tell apart. Rename one.',
    ),
    "a time that is not a field": (
        lambda: events(time="att"),
        'source "payments": time reads "att", which is not a field of Payment. Did you mean "at"? '
        "Known: amount, at, card_id, note, payment_id, seen, shop.",
    ),
    "a time that is a number": (
        lambda: events(time="amount"),
        'source "payments": time="amount" is a float, not a datetime.',
    ),
    "a known time that may be missing": (
        lambda: events(known="seen"),
        'source "payments": known="seen" may be missing. Remove `| None` from the field: rows without it are set aside.',
    ),
    "known and delay": (
        lambda: events(known="at", delay="1h"),
        'source "payments": known="at" and delay="1h" both say when a record was known. Remove one.',
    ),
    "an id that is not a field": (
        lambda: events(id="payment"),
        'source "payments": id reads "payment", which is not a field of Payment. Did you mean "payment_id"? '
        "Known: amount, at, card_id, note, payment_id, seen, shop.",
    ),
    "no id": (
        lambda: events(id=()),
        'source "payments": id=() identifies no record. Name at least one field.',
    ),
    "an id that is a float": (
        lambda: events(Odd),
        'source "payments": id="payment_id" is a float, which identifies nothing. Use an int or a str.',
    ),
    "an id that may be missing": (
        lambda: events(id=("payment_id", "note")),
        'source "payments": id="note" may be missing. Remove `| None` from the field: rows without it are set aside.',
    ),
    "a delay without a unit": (
        lambda: events(delay=3600),
        'delay="3600" is not a duration. Write a whole number and one of ms, s, m, h, d, w, '
        'for example delay="10m" or delay="30d".',
    ),
    "a lateness in words": (
        lambda: events(lateness="1 day"),
        'lateness="1 day" is not a duration. Write a whole number and one of ms, s, m, h, d, w, '
        'for example lateness="10m" or lateness="30d".',
    ),
    "a check of a column that is not there": (
        lambda: events(valid={"positive": col("amout") > 0}),
        'source "payments": valid["positive"] reads column "amout", which is not there. Did you mean "amount"? '
        "Known: amount, at, card_id, note, payment_id, seen, shop.",
    ),
    "a check that is not a condition": (
        lambda: events(valid={"positive": col("amount") + 1}),
        'source "payments": valid["positive"] is (amount + 1), which is not a condition.',
    ),
    "a check in plain Python": (
        lambda: events(valid={"positive": True}),
        'source "payments": valid["positive"] is True, not an expression. Write for example col("amount").',
    ),
    "a table key that is not a field": (
        lambda: Table("payments", Payment, key="card", time="at"),
        'source "payments": id reads "card", which is not a field of Payment. Did you mean "card_id"? '
        "Known: amount, at, card_id, note, payment_id, seen, shop.",
    ),
    "a derived column that is there": (
        lambda: Derived("big", source=payments, added={"at": col("amount") > 1}),
        'source "big": column "at" is already a field of source "payments". Give the new column another name.',
    ),
    "a derived column that would be internal": (
        lambda: Derived("big", source=payments, added={"_known": col("amount")}),
        'column name "_known" is not lower-case letters, digits and underscores, for example "late_departures".',
    ),
    "a derived column of one that is not there": (
        lambda: Derived("big", source=payments, added={"cents": col("amout") * 100}),
        'source "big": column "cents" reads column "amout", which is not there. Did you mean "amount"? '
        "Known: amount, at, card_id, note, payment_id, seen, shop.",
    ),
    "a derived column of text and number": (
        lambda: Derived("big", source=payments, added={"cents": col("note") * 100}),
        'source "big": column "cents": (note * 100) does not fit columns of type str and int.',
    ),
    "a derived column that aggregates": (
        lambda: Derived("big", source=payments, added={"n": count(window="1h")}),
        'source "big": column "n" uses count(1, window=3600s) where rows are computed one by one. Use it in a feature view.',
    ),
    "a derived column with an age": (
        lambda: Derived("big", source=payments, added={"old": col("at").age("d")}),
        'source "big": column "old": age(at, 86400000000) depends on the moment a feature is asked for. Use age in a '
        'feature, on the result of an aggregate, for example col("at").last().age("d").',
    ),
    "a where that is not a condition": (
        lambda: Derived("big", source=payments, where=col("amount")),
        'source "big": where=amount is not a condition.',
    ),
    "an entity without a key": (
        lambda: Entity("card", key=()),
        'entity "card": key=() does not name one or more different fields.',
    ),
    "an entity with a key twice": (
        lambda: Entity("card", key=("card_id", "card_id")),
        "entity \"card\": key=('card_id', 'card_id') does not name one or more different fields.",
    ),
    "no features": (lambda: view({}), 'feature view "view" has no features.'),
    "a feature that is text": (
        lambda: view({"spend": "amount"}),
        'feature "view.spend" is \'amount\', not an expression. Write for example col("amount").',
    ),
    "a key that is not a field": (
        lambda: view({"n": count(window="1h")}, entity=Entity("card", key="card")),
        'feature view "view": key "card" of entity "card" is not a field of source "payments". Did you mean "card_id"? '
        "Known: amount, at, card_id, note, payment_id, seen, shop.",
    ),
    "a key that is a float": (
        lambda: view({"n": count(window="1h")}, entity=Entity("amount", key="amount")),
        'feature view "view": key "amount" of entity "amount" is a float, and floats that look equal may differ. '
        "Use an int or a str.",
    ),
    "an aggregate of a wrong column": (
        lambda: view({"spend_1h": col("amout").sum(window="1h")}),
        'feature "view.spend_1h" reads column "amout", which is not there. Did you mean "amount"? '
        "Known: amount, at, card_id, note, payment_id, seen, shop.",
    ),
    "a sum of text": (
        lambda: view({"notes_1h": col("note").sum(window="1h")}),
        'feature "view.notes_1h": sum needs numbers, and note is str.',
    ),
    "a where of an aggregate that is a number": (
        lambda: view({"n": count(window="1h", where=col("amount"))}),
        'feature "view.n": where=amount is not a condition.',
    ),
    "a feature without an aggregate": (
        lambda: view({"amount": col("amount")}),
        'feature "view.amount" has no aggregate, so there is one value per event, not per key. '
        "Write for example amount.last().",
    ),
    "a column beside an aggregate": (
        lambda: view({"ratio": col("amount") / col("amount").mean(window="1h")}),
        'feature "view.ratio" reads column "amount" outside of an aggregate, where there is one value per key. '
        'Write for example col("amount").last().',
    ),
    "an age inside an aggregate": (
        lambda: view({"n": count(window="1h", where=col("at").age() > 1)}),
        'feature "view.n": age(at, 1000000) depends on the moment a feature is asked for. Use age in a feature, '
        'on the result of an aggregate, for example col("at").last().age("d").',
    ),
    "a feature of another view per key": (
        lambda: view({"n": by_card["count_1h"] / count(window="1d")}),
        'feature "view.n" reads a feature of another view. Move it to a view without an entity.',
    ),
    "an aggregate without an entity": (
        lambda: view({"n": count(window="1h")}, entity=None),
        'feature "view.n" aggregates over events, but the view has no entity to group by. '
        "Add entity=..., or move it to a view that has one.",
    ),
    "a wrong column of the row": (
        lambda: view({"n": col("amout")}, entity=None),
        'feature "view.n" reads column "amout", which is not a field of source "payments". Did you mean "amount"? '
        "Known: amount, at, card_id, note, payment_id, seen, shop.",
    ),
    "a label of a wrong column": (
        lambda: Label(frauds, on="payment_id", value=col("frad"), horizon="7d"),
        'label of source "frauds" reads column "frad", which is not there. Did you mean "fraud"? '
        "Known: at, fraud, payment_id, score.",
    ),
    "a label that is a time": (
        lambda: Label(frauds, on="payment_id", value=col("at"), horizon="7d"),
        'label of source "frauds": value=at is a time, not a number, a condition or a text.',
    ),
    "a label that is a value": (
        lambda: Label(frauds, on="payment_id", value=True, horizon="7d"),
        'label of source "frauds" is True, not an expression. Write for example col("amount").',
    ),
    "a label with a window": (
        lambda: Label(frauds, on="payment_id", value=col("fraud").sum(window="1d"), horizon="7d"),
        'label of source "frauds": sum(fraud, window=86400s) names a window, but the aggregates of a label are over its horizon. '
        "Leave the window out.",
    ),
    "a horizon without a unit": (
        lambda: Label(frauds, on="payment_id", value=col("fraud"), horizon="7"),
        'horizon="7" is not a duration. Write a whole number and one of ms, s, m, h, d, w, '
        'for example horizon="10m" or horizon="30d".',
    ),
    "a training window within the test window": (
        lambda: model(train_window="180d", test_window="200d"),
        'model "model": test_window="200d" leaves nothing to fit on, because it is part of train_window="180d". '
        "Make test_window shorter.",
    ),
    "a lead in words": (
        lambda: model(lead="an hour"),
        'lead="an hour" is not a duration. Write a whole number and one of ms, s, m, h, d, w, '
        'for example lead="10m" or lead="30d".',
    ),
    "metrics that are one text": (
        lambda: model(metrics="roc_auc"),
        "model \"model\": metrics='roc_auc' is not a list of names.",
    ),
    "an estimator without fit": (
        lambda: model(estimator=3),
        'model "model": estimator 3 has no fit(X, y).',
    ),
    "an estimator that is a class": (
        lambda: model(estimator=Learner),
        'model "model": estimator Learner is a class. Write estimator=Learner().',
    ),
    "no features to learn from": (
        lambda: model(features=[]),
        'model "model": features is not a list of at least one feature view or feature.',
    ),
    "a feature that is not in a list": (
        lambda: model(features=by_card["count_1h"]),
        'model "model": features is not a list of at least one feature view or feature.',
    ),
    "a feature of the wrong kind": (
        lambda: model(features=["count_1h"]),
        'model "model": features takes feature views and features such as view["name"], not \'count_1h\'.',
    ),
    "two views of one name": (
        lambda: model(features=[by_card, view({"n": count(window="2h")}, name="by_card")]),
        'two feature views are named "by_card". Rename one.',
    ),
    "a key of another type than the spine's": (
        lambda: model(features=[view({"n": count(window="1h")}, source=odd)]),
        'model "model": "card_id" is str in spine "payments" and int in source "odd", key of view "view"; '
        "they would never meet. Declare one type.",
    ),
    "a label key that may be missing": (
        lambda: model(
            spine=odd,
            features=[view({"f": col("flag")}, source=odd, entity=None)],
            label=Label(payments, on="shop", value=col("amount"), horizon="1d"),
        ),
        'model "model": "shop", by which rows meet their labels, may be missing in spine "odd". '
        "Remove `| None` from the field.",
    ),
    "a row feature of another source": (
        lambda: model(features=[view({"f": col("score")}, source=frauds, entity=None)]),
        'model "model": view "view" has no entity, so it reads the row that is predicted, but its source is "frauds" and '
        'the spine is "payments". Declare it over the spine.',
    ),
    "a row feature of text and number": (
        lambda: model(features=[view({"f": col("note") + 1}, entity=None)]),
        'feature "view.f": (note + 1) does not fit columns of type str and int.',
    ),
    "two sources of one name": (
        lambda: Project("shop", releases=[Release(model(spine=events(), features=[by_card]))]),
        'two sources are named "payments". Rename one.',
    ),
}
MISSING = {
    "a metric": (
        lambda: model(metrics=["roc_auk"]),
        'no metric "roc_auk" in model "model". Did you mean "roc_auc"? Known: ',
    ),
    "a feature": (
        lambda: by_card["count_2h"],
        'no feature "count_2h" in feature view "by_card". Did you mean "count_1h"? Known: count_1h.',
    ),
    "the key of a label": (
        lambda: Label(frauds, on="payment", value=col("fraud"), horizon="7d"),
        'no field "payment" in label source "frauds". Did you mean "payment_id"? Known: at, fraud, payment_id, score.',
    ),
    "the key of a label in the spine": (
        lambda: model(spine=Events("visits", Visit, time="at", id="visit_id")),
        'no field "payment_id" in spine "visits", on of the label. Known: at, card_id, visit_id.',
    ),
    "the key of a view in the spine": (
        lambda: model(spine=frauds),
        'no field "card_id" in spine "frauds", key of view "by_card". Known: at, fraud, payment_id, score.',
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_declaration_is_refused_where_it_is_written(mistake):
    write, text = WRONG[mistake]
    with pytest.raises(DefinitionError) as caught:
        write()
    assert str(caught.value) == text


@pytest.mark.parametrize("mistake", MISSING)
def test_what_is_not_there_is_named_with_the_nearest(mistake):
    write, text = MISSING[mistake]
    with pytest.raises(NotFound) as caught:
        write()
    assert str(caught.value).startswith(text)
