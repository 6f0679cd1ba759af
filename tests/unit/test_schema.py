"""Declarations that are right: schemas of any kind, fingerprints, durations, moments and clocks."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from datetime import datetime

import msgspec
import pytest

from tenfold import Derived, Entity, Events, col, count
from tenfold.core.clock import SharedClock
from tenfold.core.errors import DefinitionError
from tenfold.core.times import duration, to_us
from tests.unit.test_declare import events, model, payments, view


@dataclass
class AsDataclass:
    id: str
    amount: float | None
    at: datetime


class AsStruct(msgspec.Struct):
    id: str
    amount: float | None
    at: datetime


class AsPydantic:
    """What a pydantic model's annotations look like, private and class variables included."""

    model_config: typing.ClassVar[dict] = {}
    _private: int
    id: str
    amount: typing.Annotated[typing.Optional[float], "euros"]  # noqa: UP045 - as people write it
    at: datetime


@pytest.mark.parametrize("written", [AsDataclass, AsStruct, AsPydantic])
def test_a_schema_is_any_annotated_class(written):
    source = Events("things", written, time="at", id="id")
    assert {name: (item.type, item.nullable) for name, item in source.fields.items()} == {
        "id": ("str", False),
        "amount": ("float", True),
        "at": ("time", False),
    }


def test_a_view_may_read_any_source_its_spine_is_derived_from():
    big = Derived("big", source=payments, where=col("amount") > 1, added={"cents": col("amount") * 100})
    plain, derived = (
        view({"f": col(name)}, name=name, source=source, entity=None)
        for name, source in (("amount", payments), ("cents", big))
    )
    assert dict(model(spine=big, features=[plain, derived]).columns) == {
        "amount.f": "float",
        "cents.f": "float",
    }


def test_a_fingerprint_changes_with_every_part_that_changes_a_value():
    def card_view(source=payments, key="card_id", window="1000001s", name="view"):
        return view({"n": count(window=window)}, name=name, source=source, entity=Entity("e", key=key))

    views = [
        card_view(),
        card_view(window="1000002s"),
        card_view(key="shop"),
        card_view(name="other"),
        card_view(source=events(delay="1h")),
        card_view(source=events(lateness="2h")),
        card_view(source=events(moves=False)),
        card_view(source=Derived("d", source=payments)),
        card_view(source=Derived("d", source=payments, where=col("amount") > 0)),
    ]
    assert len({item.fingerprint for item in views}) == len(views)
    assert (
        card_view().fingerprint
        == view({"n": count(window="1000001s")}, entity=Entity("f", key="card_id")).fingerprint
    )


@pytest.mark.parametrize("moment", [3.5, None, "yesterday", datetime(2013, 4, 1), ["2013-04-01"]])  # noqa: DTZ001
def test_a_moment_is_a_date_a_time_or_microseconds(moment):
    with pytest.raises(DefinitionError, match=r"Write for example 2013-04-01T0"):
        to_us(moment)


def test_durations():
    assert [duration(text) for text in ("1ms", "1s", "2m", "1w")] == [
        1_000,
        1_000_000,
        120_000_000,
        604_800_000_000,
    ]
    for text in ("", "1", "h", "-1h", "1.5h", "1H", "01h", "1h30m", 60, None):
        with pytest.raises(DefinitionError, match="is not a duration"):
            duration(text)


def test_a_shared_clock_is_seen_by_others_and_never_runs_backwards(tmp_path):
    clock, other = SharedClock(tmp_path / "new" / "clock"), SharedClock(tmp_path / "new" / "clock")
    assert other.now() == 0
    clock.set(50)
    clock.set(40)
    assert (clock.now(), other.now(), SharedClock(tmp_path / "new" / "clock").now()) == (50, 50, 50)


def test_a_label_may_ask_whether_an_event_comes():
    from tenfold import Label, exists
    from tests.property.shop import orders

    label = Label(orders, on="order_id", value=exists(), horizon="1d")
    assert label.view.plan.types["value"] == "bool"
    assert label.fingerprint != Label(orders, on="order_id", value=col("units") > 0, horizon="1d").fingerprint
