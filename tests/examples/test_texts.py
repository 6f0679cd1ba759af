"""A model on texts, from the events to an answer over HTTP: a vector of numbers per text in every part of it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from lightgbm import LGBMClassifier

from tenfold import Entity, Events, FeatureView, Label, Model, Platform, Project, Release, VirtualClock, col
from tenfold.core.errors import SchemaError
from tenfold.core.times import to_us
from tenfold.monitoring.report import drift
from tenfold.serving.answer.service import Versions
from tenfold.training.vector import encode
from tests.examples.tiny import in_process
from tests.property.arrays import hashed, likeness

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = START + timedelta(hours=900)
TEXTS = ["fits well", "bad", None, "not as shown but fits", "bad bad shoes", ""]
JSON = {"content-type": "application/json"}


class Review:
    review_id: str
    author: str
    text: str | None
    at: datetime


class Vote:
    review_id: str
    helpful: bool
    at: datetime


reviews = Events("reviews", Review, time="at", id="review_id", lateness="1d")
votes = Events("votes", Vote, time="at", id="review_id")
words = col("text").apply(hashed, returns="float", size=3)


def model(words, last):
    author = FeatureView(
        "author",
        entity=Entity("author", key="author"),
        source=reviews,
        features={"last": last, "usual": words.mean(window="30d")},
    )
    review = FeatureView(
        "review",
        source=reviews,
        features={
            "words": words,
            "alike": author.vector("usual").apply(likeness, words, 1.0, returns="float", size=2),
        },
    )
    return Model(
        "helpful",
        spine=reviews,
        features=[review, author],
        label=Label(votes, on="review_id", value=col("helpful"), horizon="1d"),
        estimator=LGBMClassifier(n_estimators=5, min_child_samples=5, n_jobs=1, verbosity=-1),
    )


helpful = model(words, words.last())
COLUMNS = [
    *(f"review.words[{place}]" for place in range(3)),
    *(f"review.alike[{place}]" for place in range(2)),
    *(f"author.{name}[{place}]" for name in ("last", "usual") for place in range(3)),
]


def row(number, text, **changed):
    at = (START + number * timedelta(hours=2)).isoformat()
    return {"review_id": f"r{number}", "author": f"a{number % 4}", "text": text, "at": at} | changed


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    project = Project("texts", releases=[Release(helpful)])
    with project.open(Platform(home=tmp_path_factory.mktemp("texts"), clock=VirtualClock(NOW))) as app:
        written = [row(number, TEXTS[number % len(TEXTS)]) for number in range(400)]
        voted = [
            {
                "review_id": one["review_id"],
                "helpful": "fits" in (one["text"] or "fits" * (number % 2)),
                "at": (START + number * timedelta(hours=2, minutes=1)).isoformat(),
            }
            for number, one in enumerate(written)
        ]
        app.ingest("reviews", written, history=True)
        app.ingest("votes", voted, history=True)
        app.process()
        app.promote(helpful, app.train(helpful).number)
        yield app


def test_the_matrix_has_a_column_for_each_number(app):
    manifest = Versions(app.registry, app.blobs).production(helpful).package.manifest
    assert list(manifest.columns) == COLUMNS
    assert list(manifest.importance) == COLUMNS
    assert [bins["name"] for bins in manifest.reference["features"]] == COLUMNS
    assert sum(manifest.importance.values()) == pytest.approx(1)


def test_a_training_set_has_a_column_of_lists(app):
    learn = app.training_set(helpful)
    table = learn.to_arrow()
    assert table.column_names == [
        "id",
        "at",
        "review.words",
        "review.alike",
        "author.last",
        "author.usual",
        "label",
    ]
    assert str(table.schema.field("author.usual").type) == "fixed_size_list<item: double>[3]"
    expected = encode(learn.columns, {})
    told = np.array([[np.nan] * 3 if item is None else item for item in table["review.words"].to_pylist()])
    np.testing.assert_array_equal(told, expected[:, :3])
    assert table["review.words"].null_count == sum(np.isnan(expected[:, 0]))
    assert learn.to_polars()["author.last"].to_list() == table["author.last"].to_pylist()
    frame = learn.to_pandas()
    assert frame["review.words"].isna().sum() == table["review.words"].null_count
    np.testing.assert_array_equal(frame["review.words"][0], expected[0, :3])
    assert "review.words (3)" in str(learn.report)


def test_every_answer_is_logged_with_the_numbers_that_training_would_read(app):
    asked = [row(450 + number, text, author="a1", at=NOW.isoformat()) for number, text in enumerate(TEXTS)]
    server = app.asgi(wait=10)
    for one in asked:
        status, answer = in_process(server, "/predict", one)
        assert (status, answer["version"], answer["ages_s"]["author"] > 0) == (200, 1, True)
    app.process()
    found = app.skew(helpful)
    assert (found.mismatches, found.rows, found.cells) == (0, len(asked), len(asked) * len(COLUMNS))
    live = drift(app.lake, Versions(app.registry, app.blobs).production(helpful), 0, to_us(NOW) + 1)
    assert {row["feature"] for row in live.features} == set(COLUMNS)
    assert live.rows == len(asked)


def test_a_number_is_explained_and_asked_for_by_its_name(app):
    told = app.explain("author.last[1]", "a1")
    assert told.feature == "author.last[1]"
    assert (
        told.value
        == app.features(helpful, row(480, "fits", author="a1", at=NOW.isoformat()))["features"][
            "author.last[1]"
        ]
    )
    assert told.parts[0].aggregate.startswith("last(apply(text, hashed#")
    assert told.parts[0].records[0]["value"] == told.value


def test_a_version_of_other_vectors_is_refused_in_a_few_words(app):
    shorter = col("text").apply(shortened, returns="float", size=2)
    other = model(shorter, shorter.last())
    with pytest.raises(SchemaError) as caught:
        Versions(app.registry, app.blobs).production(other)
    assert str(caught.value) == (
        "helpful version 1 was trained on other features than are declared now: missing author.last, author.usual, "
        "review.words; changed review.alike. Train again, or run the declaration it was trained with."
    )


def shortened(texts):
    return hashed(texts)[:, :2]
