"""How answers lie in the log and the lake, in which forms, and what a client is told of them."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tenfold.core.clock import VirtualClock
from tenfold.core.errors import SchemaError
from tenfold.processing.batches import to_bytes, to_table, to_tables
from tenfold.serving.answer.answers import as_dict, as_json, said
from tenfold.serving.answer.predictions import (
    BATCH,
    ONLINE,
    SHADOW,
    TOPIC,
    Answered,
    PredictionLog,
    nothing,
    read,
    to_rows,
)
from tenfold.sources.memory import MemoryLake, MemoryLog
from tenfold.store.materialize import LakeSink
from tenfold.training.package import Manifest
from tests.unit.predicted import predictions, same


def manifest(kind="binary", **given):
    """Return a manifest that only says how answers are given."""
    blank = {name: {} for name in Manifest.__struct_fields__}
    return Manifest(**blank | {"kind": kind, "threshold": None} | given)


SCORED = manifest(threshold=0.25)


def uncompressed(data):
    """Return packed answers in the form they had before they were compressed."""
    size = int.from_bytes(data[2:6], "little")
    return data[:1] + pa.decompress(data[6:], size, codec="lz4_raw", asbytes=True)


@pytest.fixture
def log():
    return MemoryLog(VirtualClock(0))


def answer(kept, found, told, keys):
    """Store predictions together, as what these clients get under these keys."""
    by_id = dict(zip(found.id, told, strict=True)), dict(zip(found.id, keys, strict=True))
    return kept.answer([found], by_id[0], by_id[1].__getitem__)


@pytest.fixture
def kept(log):
    return PredictionLog(log)


def lake_of(log):
    lake = MemoryLake()
    LakeSink(log, lake, [TOPIC]).flush()
    return lake


def test_many_predictions_are_stored_once_per_key(kept, log):
    first = predictions("a", "b", mode=BATCH)
    assert same(kept.write(first, key="k"), first)
    assert same(kept.write(predictions("c", score=0.1, mode=BATCH), key="k"), first)
    assert log.ends().offsets == {TOPIC: 2}


def test_answers_are_stored_once_per_key(kept, log):
    told = [b'{"score":0.5}', b'{"score":0.25}']
    assert kept.stored({"a": "k"}) == {}
    stored = answer(kept, predictions("a", "b"), told, keys=["k", "l"])
    assert answer(kept, predictions("c", "d", score=0.9), told, keys=["m", "l"]) == {}
    assert stored == kept.stored({"a": "k", "b": "l", "c": "m"})
    assert [one.told for one in stored.values()] == told
    assert log.ends().offsets == {TOPIC: 2}


@pytest.mark.parametrize(
    ("forge", "what"),
    [
        (lambda data: data[:1] + b"\x03" + data[2:], "form 3"),
        (lambda data: uncompressed(data).replace(b"version:ints", b"version:bits"), "columns of type bits"),
        (lambda data: b"\xc0" + data[1:], "first byte 192"),
    ],
)
def test_a_form_that_a_later_version_wrote_is_refused(kept, log, forge, what):
    answer(kept, predictions("a"), [b"{}"], keys=["k"])
    (batch,) = log.read(TOPIC, 0)
    log.append(TOPIC, forge(batch.data), 1, key="l")
    lake = MemoryLake()
    for read_it in (
        lambda: kept.stored({"a": "l"}),
        lambda: to_tables(log.read(TOPIC, 0)),
        lambda: LakeSink(log, lake, [TOPIC]).flush(),
    ):
        with pytest.raises(SchemaError) as error:
            read_it()
        assert str(error.value) == (
            "the log holds rows that a later version of tenfold wrote, in a form that this one does not know "
            f"({what}). Run that version. Nothing was changed."
        )
    assert lake.version(TOPIC) == -1


def test_what_the_client_gets():
    assert as_dict(predictions("a", "b"), 1, SCORED, ["view"]) == {
        "prediction_id": "b",
        "model": "m",
        "version": 3,
        "prediction": True,
        "score": 0.5,
        "decision": True,
        "threshold": 0.25,
        "as_of": "1970-01-01T00:00:01+00:00",
        "ages_s": {"view": None},
    }


def several(place, manifest, shares):
    """Return a prediction of one of several classes."""
    found = said(manifest, np.array([shares]))
    one = predictions(place)
    return replace(
        one,
        score=found.score,
        decision=found.decision,
        probabilities=found.probabilities,
        classes=found.classes,
    )


STATES = manifest("multiclass", classes=["broken", "fine"])


def test_what_the_client_gets_of_several_classes_and_of_numbers():
    told = as_dict(several("a", STATES, [0.75, 0.25]), 0, STATES, ["view"])
    assert told["prediction"] == "broken"
    assert told["score"] == 0.75
    assert told["probabilities"] == {"broken": 0.75, "fine": 0.25}
    assert not {"decision", "threshold"} & told.keys()
    stars = manifest("multiclass", classes=[3, 5])
    assert as_dict(several("a", stars, [0.25, 0.75]), 0, stars, ["view"])["prediction"] == 5
    for kind in ("regression", "ranking"):
        number = as_dict(predictions("a", score=7.5), 0, manifest(kind), ["view"])
        assert (number["prediction"], number["score"]) == (7.5, 7.5)
        assert not {"decision", "threshold", "probabilities"} & number.keys()


def test_the_log_holds_the_probabilities_of_versions_that_know_different_classes(kept, log):
    other = manifest("multiclass", classes=["broken", "lost"])
    kept.write(several("a", STATES, [0.75, 0.25]), key="1")
    kept.write(several("b", other, [0.5, 0.5]), key="2")
    kept.write(predictions("c"), key="3")
    found = read(lake_of(log), "m", ONLINE, 0, 10)
    assert found.classes == ("broken", "fine", "lost")
    assert found.probabilities.tolist() == [[0.75, 0.25, 0], [0.5, 0, 0.5], [0, 0, 0]]
    assert found.decision.tolist() == [None, None, True]
    assert found.take(np.array([1])).probabilities.tolist() == [[0.5, 0, 0.5]]


def test_the_lake_gives_back_one_mode_and_period_each_id_once(kept, log):
    kept.write(predictions("a", "b", "c", mode=BATCH), key="1")
    kept.write(predictions("a", score=0.9, mode=BATCH), key="2")
    kept.write(predictions("z"), key="3")
    lake = lake_of(log)
    found = read(lake, "m", BATCH, 0, 2_000_000)
    assert same(found, predictions("a", "b", mode=BATCH))
    assert len(read(lake, "other", BATCH, 0, 2_000_000)) == 0


def test_of_some_versions_the_lake_gives_back_what_they_said_first(kept, log):
    later = replace(predictions("a", "b", mode=SHADOW), version=np.full(2, 5))
    kept.keep(predictions("a", mode=SHADOW))
    kept.keep(later)
    assert same(read(lake_of(log), "m", SHADOW, 0, 2_000_000, (4, 5)), later)


def test_what_is_not_wanted_is_not_read_and_what_clients_got_never_is(log, kept):
    class Noted(MemoryLake):
        def read(self, table, *, columns=None, **which):
            found = super().read(table, columns=columns, **which)
            if found.num_rows:
                read_from.update(found.column_names)
            return found

    read_from, lake = set(), Noted()
    answer(kept, predictions("a", "b"), [b"told", b"told"], keys=["k", "l"])
    LakeSink(log, lake, [TOPIC]).flush()
    assert same(read(lake, "m", ONLINE, 0, 2_000_000), predictions("a", "b"))
    assert {"features", "ages", "request", "outputs", "outputs_by"} < read_from
    assert "answer" not in read_from
    read_from.clear()
    less = read(lake, "m", ONLINE, 0, 2_000_000, without=("features", "ages", "request", "outputs"))
    none = np.zeros((2, 0))
    assert same(less, replace(predictions("a", "b"), features=none, ages=none, request=["", ""]))
    assert read_from.isdisjoint({"features", "ages", "request", "outputs", "answer"})


def test_before_the_first_prediction_there_are_none():
    assert same(read(MemoryLake(), "m", ONLINE, 0, 1), nothing("m", ONLINE))


def test_versions_with_more_features_are_read_beside_older_ones(kept, log):
    kept.write(predictions("a"), key="1")
    kept.write(predictions("b", width=3), key="2")
    found = read(lake_of(log), "m", ONLINE, 0, 10)
    assert np.array_equal(found.features, [[1.5, 1.5, np.nan], [1.5, 1.5, 1.5]], equal_nan=True)


def test_answers_of_several_versions_are_each_told_as_by_their_own():
    both = replace(
        predictions("a", "b", "c"),
        ages=np.full((3, 2), np.nan),
        model='100 % "m"',
        version=np.array([4, 3, 4]),
    )
    manifests = {3: SCORED, 4: manifest(threshold=0.75)}
    told = as_json(both, manifests, ["%s", "view"], {"degraded": "stale", "behind": {"%d": 1}})
    each = [json.loads(text) for text in told]
    assert [(one["prediction_id"], one["version"], one["threshold"]) for one in each] == [
        ("a", 4, 0.75),
        ("b", 3, 0.25),
        ("c", 4, 0.75),
    ]
    for place, one in enumerate(each):
        del one["degraded"]
        assert one.pop("behind") == {"%d": 1}
        assert one == as_dict(both, place, manifests[one["version"]], ["%s", "view"])
        assert (one["model"], one["ages_s"]) == ('100 % "m"', {"%s": None, "view": None})


def test_of_parts_that_are_stored_together_one_whose_key_is_taken_costs_no_other(kept, log):
    first = answer(kept, predictions("a"), [b"1"], keys=["a"])
    told = dict.fromkeys("abc", b"2")
    assert list(kept.answer([predictions("c"), predictions("b", "a")], told, str)) == ["c"]
    assert kept.stored({name: name for name in "abc"}) == first | {"c": Answered("{}", b"2")}
    assert [batch.count for batch in log.read(TOPIC, 0)] == [1, 1]


def test_answers_are_written_as_any_table_is(kept, log):
    answer(kept, predictions("a", "b"), [b"{}", b'{"x":1}'], keys=["k", "l"])
    (batch,) = log.read(TOPIC, 0)
    table = to_table(batch)
    rows = to_rows(predictions("a", "b"), ["{}", '{"x":1}'])
    assert to_bytes(table.select(rows.column_names)) == to_bytes(rows)
    assert table.schema.names == [*rows.column_names, "_offset", "_arrival"]


def test_answers_of_any_form_are_read_together_in_their_order(kept, log):
    older = to_rows(predictions("a", "b"), ["{}", '{"x":1}'])
    log.append(TOPIC, to_bytes(older), 2, key=["k", "l"])
    answer(kept, predictions("c"), [b"{}"], keys=["m"])
    kept.write(several("d", STATES, [0.75, 0.25]), key="n")
    kept.write(predictions("e", "f", width=3), key="o")
    (newest,) = log.read(TOPIC, 4)
    log.append(TOPIC, uncompressed(newest.data), 2, key=["p", "q"])
    found = to_tables(log.read(TOPIC, 0))
    assert found.schema.types == [*older.schema.types, pa.int64(), pa.int64()]
    assert found["prediction_id"].to_pylist() == ["a", "b", "c", "d", "e", "f", "e", "f"]
    assert found["_offset"].to_pylist() == list(range(8))
    columns = [name for name in found.column_names if name[0] != "_" and name != "ages"]
    assert found.select(columns)[6:8].equals(found.select(columns)[4:6])
    assert found["features"].to_pylist()[2:5] == [[1.5, 1.5], [1.5, 1.5], [1.5] * 3]
    assert found["classes"].to_pylist()[2:5] == [[], list(map(str, STATES.classes)), []]
    assert found["probabilities"].to_pylist()[2:5] == [[], [0.75, 0.25], []]
    told = kept.stored({"b": "l", "c": "m"})
    assert told == {"b": Answered("{}", b'{"x":1}'), "c": Answered("{}", b"{}")}
    assert kept.stored({"e": "p", "f": "q"}) == kept.stored({"e": "o", "f": "o"})


def test_answers_take_half_the_room_they_would_take_as_they_are(kept, log):
    names = [f"fraud/{place}/1709251200000000" for place in range(20)]
    told = [
        b'{"prediction_id":"%s","model":"fraud","version":1,"score":0.5}' % name.encode() for name in names
    ]
    answer(kept, predictions(*names), told, keys=names)
    (batch,) = log.read(TOPIC, 0)
    assert len(batch.data) < len(uncompressed(batch.data)) / 2
