"""The second oracle: the same meaning in SQL, by a join of every question with every record of its key, in DuckDB.

It reads no code of the features but the declarations. Values and conditions of records come from the reference; what
counts when, what is in a window, and every exact sum is SQL over whole numbers.
"""

from decimal import Decimal
from functools import cached_property
from itertools import groupby
from math import exp2
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from tenfold.core.infer import infer
from tenfold.processing.frame import types_of
from tests.property import reference
from tests.property.reference_row import meaning
from tests.prove import generate
from tests.prove.exact import DECIMALS, FINISH, OF_UNITS, square, total

KINDS = dict.fromkeys(DECIMALS, pa.int64())  # as units
KINDS |= {
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "str": pa.string(),
    "time": pa.int64(),
}
NEWEST = 2**62
HIGH = "floor(v * 1048576.0)"
LOW = f"round_even((v * 1048576.0 - {HIGH}) * 8796093022208.0, 0)"
COUNTING = f"""
with ended as (
    select *, coalesce(lead(known_) over (partition by idrank order by known_, offset_), {NEWEST}) as until_ from held
)
select asked.*, ended.* exclude (key) from asked join ended
on asked.key = ended.key and ended.known_ < asked.moment and ended.until_ >= asked.moment where not deleted_
"""
SESSION = """
select * from (
    select *, max(begins) over (partition by qid) as begin, max(event) over (partition by qid) as latest from (
        select *, row_number() over each as place, case
            when lag(event) over each is null or event - lag(event) over each > {size} then row_number() over each
        end as begins from part window each as (partition by qid order by event, idrank)
    )
) where place >= begin and u - latest <= {size}
"""
RANKED = """
select qid, v from (
    select qid, v, row_number() over (partition by qid order by times desc, v) as rank
    from (select qid, {zero} as v, count(*) as times from inside where v is not null group by all)
) where rank = {n} + 1
"""

DECAYED = f"""
select qid, u, e1, own, sum({HIGH}::hugeint), sum({LOW}::hugeint), sum(v) from inside
where v is not null and (own or event > u - {{life}}) group by all order by qid, own, e1
"""


class Oracle:
    """The answers of SQL to the questions of one world."""

    JOINS = True

    def __init__(self, world):
        self.world = world
        # Without a limit it takes most of the machine's memory, and so does the process beside it.
        self._folder = TemporaryDirectory()
        limits = {"threads": 1, "memory_limit": "3GB", "temp_directory": self._folder.name}
        self.db = duckdb.connect(config=limits)
        self.db.execute("set enable_progress_bar = false")
        held, asked = self.held(), self.asked()
        self.db.register("held", held)
        self.db.register("given", asked)
        since = "".join(f", {midnight(node)} as since_{name}" for name, node in self.nodes.items())
        self.db.execute(f"create table asked as select *{since} from given")
        if self.JOINS:
            self.db.execute(f"create table counting as {COUNTING}")

    def close(self):
        """Let go of the database."""
        self.db.close()
        self._folder.cleanup()

    @cached_property
    def nodes(self):
        """The features that are one aggregate, by name."""
        found = self.world.view.features.items()
        return {name: expr for name, expr in found if expr.window is not None}

    def kind(self, node):
        """Return the type of an aggregate's values."""
        return infer(node.args[0], types_of(self.world.view.source.fields), "the oracle")

    def held(self):
        """Return the records as a table; v_ and w_ are an aggregate's value, and whether the record takes part."""
        view = self.world.view
        given = generate.identified(view, self.world.records)
        records = [reference.derived(view.source, record) for record in given]
        names = [reference.identity(record["id"]) for record in records]
        self.rank = {name: place for place, name in enumerate(sorted(set(names)))}
        columns = {
            "key": text([tuple(record[name] for name in view.keys) for record in records]),
            "idrank": integers(self.rank[name] for name in names),
            "deleted_": pa.array([record["deleted"] for record in records], pa.bool_()),
        }
        columns |= {
            f"{name}_": integers(record[name] for record in records) for name in ("event", "known", "offset")
        }
        return pa.table(columns | self.inputs(records, ""))

    def asked(self):
        """Return the questions as a table, each with the row that it is asked for."""
        view, queries = self.world.view, self.world.queries
        own = (
            [row for _, _, row in queries]
            if any(node.window.include_self for node in self.nodes.values())
            else []
        )
        own = generate.identified(view, [reference.derived(view.source, row) for row in own])
        columns = {
            "qid": integers(range(len(queries))),
            "key": text([key for key, _, _ in queries]),
            "moment": integers(at for _, at, _ in queries),
        }
        if own:
            columns["own_rank"] = integers(self.rank.get(reference.identity(row["id"]), -1) for row in own)
            columns |= self.inputs(own, "own_")
        return pa.table(columns)

    def inputs(self, records, prefix):
        found = {}
        for name, node in self.nodes.items():
            values = [meaning(node.args[0], record) for record in records]
            kind = self.kind(node)
            if node.fn == "decayed_sum":
                kind, blocks = "float", [record["event"] // (16 * node.n) for record in records]
                found[f"{prefix}e1_{name}"] = integers(blocks)
                values = values if prefix else weighted(values, records, blocks, node.n)
                values = [None if value is None else float(value) for value in values]
            if node.fn in ("var", "std"):
                squares = [None if value is None else square(value, kind) for value in values]
                found[f"{prefix}e1_{name}"] = large(squares, lambda number: number >> 80)
                found[f"{prefix}e2_{name}"] = large(squares, lambda number: number & (2**80 - 1))
            if kind in DECIMALS:
                values = [None if value is None else int(value * 10 ** DECIMALS[kind]) for value in values]
            part = [reference.takes_part(node.where, record) for record in records]
            found[f"{prefix}v_{name}"] = pa.array(values, KINDS[kind])
            found[f"{prefix}w_{name}"] = pa.array(part, pa.bool_())
        return found

    def answers(self):
        """Return per feature the values, one per question, None for null."""
        return {name: self.answer(name, node) for name, node in self.nodes.items()}

    def answer(self, name, node):
        """Return one aggregate for every question."""
        query = f"with part as ({part(name, node)}), inside as ({inside(node)}) {self.select(node)}"
        rows = self.db.execute(query).fetchall()
        results = [0 if node.fn in ("count", "n_unique") else None] * len(self.world.queries)
        if node.fn == "decayed_sum":
            for qid, blocks in groupby(rows, key=lambda row: row[0]):
                results[qid] = decayed(blocks, node.n)
            return results
        finish = self.finish(node)
        for qid, *parts in rows:
            results[qid] = finish(*parts)
        return results

    def finish(self, node):
        """Return what makes a value of the parts of an aggregate."""
        places = DECIMALS.get(self.kind(node))
        if places is None or node.fn not in OF_UNITS:
            return FINISH[node.fn]
        return lambda *parts: OF_UNITS[node.fn](places, *parts)

    def select(self, node):
        """Return SQL for what an aggregate is made of."""
        kind = self.kind(node)
        number = "v" if kind == "float" else "v::bigint"
        zero = "v + 0.0" if kind == "float" else "v"
        if node.fn == "decayed_sum":
            return DECAYED.format(life=64 * node.n)
        if node.fn == "mode":
            return RANKED.format(zero=zero, n=node.n)
        if node.fn in ("first", "last", "lag"):
            return place(node)
        if node.fn in ("sum", "mean", "var", "std"):
            parts = SUMS[node.fn in ("var", "std"), kind == "float"]
            return f"select qid, {parts} from inside where v is not null group by qid"
        parts = {"count": "count(*)", "n_unique": f"count(distinct {zero})"}
        extreme = f"{node.fn}({number} + 0.0)" if kind == "float" else f"{node.fn}({number})"
        return f"select qid, {parts.get(node.fn, extreme)} from inside group by qid"


class Frames(Oracle):
    """The answers of SQL window frames, for records in order that each ask about themselves.

    A frame is over whole microseconds: RANGE with EXCLUDE GROUP is "before this moment", EXCLUDE TIES adds the row itself.
    """

    JOINS = False  # hot keys have too many pairs of a question and a record
    FNS = ("count", "sum", "mean", "min", "max")
    KINDS = ("time", "all")

    @cached_property
    def nodes(self):
        """The features that a frame can express, by name."""
        return {
            name: node
            for name, node in super().nodes.items()
            if not (node.window.include_self and node.window.offset)
        }

    def answer(self, name, node):
        """Return one aggregate for every record."""
        window = node.window
        begin = (
            f"{window.size + window.offset - 1} preceding" if window.kind == "time" else "unbounded preceding"
        )
        end = f"{window.offset + 1} preceding" if window.offset else "current row"
        out = "" if window.offset else "exclude ties" if window.include_self else "exclude group"
        shown = ", ".join(f"{part} filter (where w) over each" for part in self.framed(node))
        rows = self.db.execute(
            f"select offset_, {shown} from (select *, v_{name} as v, w_{name} as w from held where key is not null) window each as "
            f"(partition by key order by event_ range between {begin} and {end} {out})"
        ).fetchall()
        finish = self.finish(node)
        found = {offset: finish(*parts) for offset, *parts in rows}
        return [found[own["offset"]] for _, _, own in self.world.queries]

    def framed(self, node):
        """Return what an aggregate is made of, as aggregates over a frame."""
        floats = self.kind(node) == "float"
        if node.fn in ("sum", "mean"):
            return (
                [f"sum({HIGH}::hugeint)", f"sum({LOW}::hugeint)", "count(v)"]
                if floats
                else ["sum(v::hugeint)", "sum(null)", "count(v)"]
            )
        number = "v + 0.0" if floats else "v::bigint"
        return ["count(*)"] if node.fn == "count" else [f"{node.fn}({number})"]


def weighted(values, records, blocks, half):
    """Return values weighted relative to the end of their block of 16 half-lives."""
    weights = [
        exp2((record["event"] - (block + 1) * 16 * half) / half)
        for record, block in zip(records, blocks, strict=True)
    ]
    return [
        None if value is None else float(value) * weight
        for value, weight in zip(values, weights, strict=True)
    ]


def decayed(blocks, half):
    """Return the sum of exact sums by block, each weighted as of the moment; the row itself counts in full."""
    result = 0.0
    for _, until, block, own, high, low, value in blocks:
        result += value if own else total(high, low, 0) * exp2(((block + 1) * 16 * half - until) / half)
    return result


def part(name, node):
    """Return SQL for the records that take part, the row itself as the newest one."""
    until = f"moment - {node.window.offset}"
    since = f"since_{name}"
    more = {"decayed_sum": ("e1",), "var": ("e1", "e2"), "std": ("e1", "e2")}.get(node.fn, ())
    extra = "".join(f", {column}_{name} as {column}" for column in more)
    query = (
        f"select qid, {until} as u, {since} as since, event_ as event, idrank, v_{name} as v, false as own{extra} "
        f"from counting where event_ < {until} and w_{name}"
    )
    if node.window.include_self:
        extra = "".join(f", own_{column}_{name}" for column in more)
        query += f" and idrank <> own_rank union all select qid, {until}, {since}, moment, {NEWEST}, own_v_{name}, "
        query += f"true{extra} from asked where own_w_{name}"
    return query


def inside(node):
    """Return SQL for the records in the window."""
    window = node.window
    if window.kind == "time":
        return f"select * from part where own or event > u - {window.size}"
    if window.kind == "days":
        return "select * from part where own or event >= since"
    if window.kind == "rows":
        return f"select * from part qualify {order('desc')} <= {window.size}"
    return SESSION.format(size=window.size) if window.kind == "session" else "select * from part"


def midnight(node):
    """Return SQL for when a window of days begins, null for other windows."""
    window = node.window
    if window.kind != "days":
        return "null::bigint"
    local = f"timezone('{window.zone}', make_timestamptz(moment - {window.offset}))"
    day = f"date_trunc('day', {local}) - interval {window.size - 1} day"
    return f"epoch_us(timezone('{window.zone}', ({day})::timestamp))"


def place(node):
    """Return SQL for the value at a place in the total order."""
    way, nth = ("asc", 1) if node.fn == "first" else ("desc", 1 if node.fn == "last" else node.n + 1)
    return f"select qid, v from (select *, {order(way)} as nth from inside) where nth = {nth}"


def order(way):
    return f"row_number() over (partition by qid order by event {way}, idrank {way})"


INTEGERS = "sum(v::hugeint), null, count(v)"
FLOATS = f"sum({HIGH}::hugeint), sum({LOW}::hugeint), count(v)"
SQUARES = ", sum(e1), sum(e2)"
SUMS = {
    (False, False): INTEGERS,
    (False, True): FLOATS,
    (True, False): INTEGERS + SQUARES,
    (True, True): FLOATS + SQUARES,
}


def integers(values):
    return pa.array(list(values), pa.int64())


def large(values, part):
    """Return parts of numbers that do not fit 64 bits."""
    return pa.array(
        [None if value is None else Decimal(part(value)) for value in values], pa.decimal128(38, 0)
    )


def text(keys):
    """Return keys as text, null where a part is null."""
    return pa.array([None if None in key else repr(key) for key in keys], pa.string())
