"""Random declarations: views with any aggregate over any window of any column."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from tenfold import Derived, Entity, Events, FeatureView, col, count

ZONES = ("America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC", "Europe/Berlin")
KEYS = ("card", ("card", "branch"), "branch")
IDS = ("name", ("name", "place"))
ORDERED = ("sum", "mean", "min", "max", "var", "std", "decayed_sum")
ANY = ("count", "first", "last", "lag", "n_unique", "mode")
SKETCHES = ("approx_n_unique", "approx_quantile")
KINDS = ("time", "time", "all", "rows", "session", "days")
SPANS = ("1h", "1m", "3h", "90m", "1d", "7d", "1s", "250ms")
HALF_LIVES = ("1h", "1m", "1d")

number, whole, flag, word, moment, price = map(col, ("number", "whole", "flag", "word", "moment", "price"))


class Reading:
    name: str
    place: int
    card: str | None
    branch: int | None
    number: float | None
    whole: int | None
    flag: bool | None
    word: str | None
    moment: datetime | None
    price: Annotated[Decimal, 2] | None
    gone: bool
    at: datetime
    seen: datetime


TYPES = {
    "name": "str",
    "place": "int",
    "card": "str",
    "branch": "int",
    "number": "float",
    "whole": "int",
    "flag": "bool",
    "word": "str",
    "moment": "time",
    "price": "decimal(2)",
    "gone": "bool",
    "at": "time",
    "seen": "time",
}
DECIMALS = (
    price,
    price - Decimal("0.005"),
    price * whole,
    (price + whole).fill_null(Decimal("0.00")),
    price * number,
)
NUMBERS = (number, whole, flag, whole * number, whole + flag, number * 0.5, -whole, *DECIMALS)
OTHERS = (word, moment, whole > 1, word == "up", price > number)
CONDITIONS = (
    whole > 0,
    flag,
    ~flag,
    number > 0.5,
    word == "up",
    word.is_null(),
    (whole > 1) | flag,
    (number < 1) & ~word.is_null(),
    whole.fill_null(2) != 2,
    price > Decimal("0.05"),
    price * 2 <= whole,
)


def view(choose, *, name="view", source=None, most=8, own=True, fns=ANY + ORDERED, kinds=KINDS, spans=SPANS):
    """Return a random view; with `own`, some of its aggregates include the row that is asked for."""
    source, entity = source or events(choose), Entity("key", key=choose.of(KEYS))
    if choose.often(0.4):
        added = {"double": choose.of((number + number, whole * 2, number * whole, price + price))}
        where = choose.of(CONDITIONS) if choose.often(0.7) else None
        source = Derived("derived", source=source, where=where, added=added)
    features = {
        f"f{place}": aggregate(choose, source, fns, lambda: window(choose, own, kinds, spans))
        for place in range(choose.number(1, most))
    }
    return FeatureView(name, entity=entity, source=source, features=features)


def events(choose):
    """Return the source, with one of the ids it may have."""
    return Events("readings", Reading, time="at", known="seen", id=choose.of(IDS), deleted="gone")


def aggregate(choose, source, fns, windows):
    """Return a random aggregate over what `windows` returns."""
    fn = choose.of(fns)
    over = windows()
    if choose.often(0.3):
        over["where"] = choose.of(CONDITIONS)
    if fn == "count":
        return count(**over)
    numeric = fn in ORDERED or fn == "approx_quantile"
    value = choose.of(NUMBERS if numeric or choose.often(0.5) else OTHERS)
    if "double" in source.fields and choose.often(0.2):
        value = col("double")
    if fn == "lag":
        return value.lag(choose.of((1, 0, 2, 5)), **over)
    if fn == "mode":
        return value.top_k(3, **over)[choose.of((0, 0, 1, 2))]
    if fn == "approx_quantile":
        return value.approx_quantile(choose.of((0.5, 0.0, 0.9, 1.0)), **over)
    if fn == "decayed_sum":
        return value.decayed_sum(half_life=choose.of(HALF_LIVES), **over)
    return getattr(value, fn)(**over)


def window(choose, own, kinds, spans):
    """Return the keywords of a random window."""
    kind = choose.of(kinds)
    over = {}
    if kind in ("time", "session"):
        over["window" if kind == "time" else "session"] = choose.of(spans)
    elif kind == "rows":
        over["rows"] = choose.of((1, 2, 3, 7, 20))
    elif kind == "days":
        over |= {"window": choose.of(("1d", "2d", "7d")), "zone": choose.of(ZONES)}
    if choose.often(0.25):
        over["offset"] = choose.of(spans)
    if own and choose.often(0.2):
        over["include_self"] = True
    return over


def describe(shown):
    """Return a view as text that can be pasted into a test."""
    lines = [f"    {name}: {expr.text}" for name, expr in shown.features.items()]
    source = shown.source
    if source.root is not source:
        added = {name: expr.text for name, expr in source.added.items()}
        lines.append(
            f"    derived: where={None if source.where is None else source.where.text}, added={added}"
        )
    return "\n".join([f"  view by {shown.keys}, id {source.root.ids}", *lines])
