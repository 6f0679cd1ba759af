"""A declaration that gives another kind of thing, or names what it does not have, says what to give."""

import pytest

from tenfold import Derived, FeatureView, Label, Model, Project, Release, Table, checks, col, count
from tenfold.core.errors import DefinitionError
from tests.unit.declared import Learner, Visit, by_card, card, events, label, model, payments

SOURCE = "Give the Events, the Table or the Derived itself."


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (
            lambda: FeatureView("v", entity="card", source=payments, features={"n": count()}),
            'feature view "v": entity is \'card\'. Write for example entity=Entity("card", key="card").',
        ),
        (
            lambda: FeatureView("v", entity=card, source="payments", features={"n": count()}),
            f"feature view \"v\": source is 'payments'. {SOURCE}",
        ),
        (
            lambda: FeatureView("v", entity=card, source=payments, features=[count()]),
            'feature view "v": features is a list. Write expressions by name, such as '
            'features={"spent": col("amount").sum()}.',
        ),
        (
            lambda: events(valid=col("amount") > 0),
            'source "payments": valid is (amount > 0). Write conditions by the reason to give, such as '
            'valid={"amount > 0": col("amount") > 0}.',
        ),
        (
            lambda: Derived("d", source=by_card, added={}),
            f'source "d": source is a FeatureView. {SOURCE}',
        ),
        (
            lambda: Label("frauds", on="payment_id", value=col("fraud"), horizon="7d"),
            f"label: source is 'frauds'. {SOURCE}",
        ),
        (
            lambda: Model("m", spine="payments", features=[by_card], label=label, estimator=Learner()),
            f"model \"m\": spine is 'payments'. {SOURCE}",
        ),
        (
            lambda: Model("m", spine=payments, features=[by_card], label=col("fraud"), estimator=Learner()),
            'model "m": label is fraud. Write for example label=Label(refunds, on="order_id", value=exists(), horizon="30d").',
        ),
        (lambda: Release("m"), "release: model is 'm'. Give the Model itself."),
        *(
            (lambda name=name, given=given: Release(model(), **{name: given}), f'release of "model": {text}')
            for name, given, text in [
                (
                    "gates",
                    checks.size("5MB"),
                    'gates is not a list of checks. Write for example gates=[checks.at_least("roc_auc", 0.74)].',
                ),
                (
                    "gates",
                    ["size"],
                    'gates is not a list of checks. Write for example gates=[checks.at_least("roc_auc", 0.74)].',
                ),
                (
                    "monitors",
                    checks.at_least("roc_auc", 0.7, window="1d"),
                    'monitors is not a list of checks. Write for example monitors=[checks.at_least("roc_auc", 0.7, window="7d")].',
                ),
                (
                    "canary",
                    0.1,
                    "canary is not a list of numbers. Write for example canary=(0.05, 0.25, 0.5).",
                ),
                (
                    "canary",
                    ("0.1",),
                    "canary is not a list of numbers. Write for example canary=(0.05, 0.25, 0.5).",
                ),
                ("margin", "0.1", "margin is '0.1'. Write for example margin=0.005."),
                ("approval", "yes", "approval is 'yes'. Write True or False."),
                ("to", 5, 'to is not a list of addresses. Write for example to=["topic:decisions"].'),
            ]
        ),
        (
            lambda: Project("p", releases=[label]),
            'project "p": releases is a Label. Write releases=[Release(model)].',
        ),
    ],
)
def test_a_thing_of_another_kind_says_what_to_give(write, text):
    with pytest.raises(DefinitionError) as caught:
        write()
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (
            lambda: Release(model(), degrade="stale"),
            'Release has no parameter "degrade". Did you mean "degraded"? Known: ',
        ),
        (lambda: events(lates="1h"), 'Events has no parameter "lates". Did you mean "lateness"? Known: '),
        (
            lambda: Project("p", release=[]),
            'Project has no parameter "release". Did you mean "releases"? Known: ',
        ),
        (lambda: model(horizont="7d"), 'Model has no parameter "horizont". Known: '),
        (
            lambda: Table("cards", Visit, keys="card_id"),
            'Table has no parameter "keys". Did you mean "key"? Known: ',
        ),
    ],
)
def test_a_parameter_that_is_not_there_is_named_with_the_nearest(write, text):
    with pytest.raises(DefinitionError) as caught:
        write()
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("name", ["cooldown", "bake"])
def test_a_release_has_a_cooldown_and_a_bake_time(name):
    with pytest.raises(DefinitionError, match='"None" is not a duration'):
        Release(model(), **{name: None})


def test_a_model_has_one_release():
    with pytest.raises(DefinitionError) as caught:
        Project("p", releases=[Release(model()), Release(model())])
    assert str(caught.value) == (
        'there are several releases of model "model". Remove all but one, or rename its model.'
    )
