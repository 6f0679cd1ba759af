"""What DuckDB and Spark call things: templates of SQL that compute the same bits as `meaning`.

In a template {0}, {1}, ... are the inputs. What is missing for a dialect is refused there, with the reason in `refused`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from tenfold.core.texts import WHITESPACE
from tenfold.core.times import DAY, UNITS

_WHOLE = "4503599627370496e0"  # 2^52: floats from here on are whole numbers


@dataclass(frozen=True, slots=True)
class Dialect:
    """A kind of SQL.

    Attributes
    ----------
    templates
        Function -> SQL of inputs that are of its input type; a null input makes a null result.
    maths
        The same for functions of floats whose result may come out as an infinity or NaN.
    let
        SQL that computes {2} with the name {1} for the value of {0}.
    real
        A decimal as the nearest float.
    matches
        Whether the whole text {0} is of the pattern {1}.
    local
        The local time of an instant, as a time without zone or as microseconds: what the parts of a date are taken from.
    """

    name: str
    quote: str
    escapes: Mapping[str, str]
    types: Mapping[str, str]
    let: str
    finite: str
    micros: str
    instant: str
    local_us: str
    floor_mod: str
    int_div: str
    multiply: str
    real: str
    matches: str
    first_day: Mapping[str, str]
    templates: Mapping[str, str]
    maths: Mapping[str, str]
    refused: Mapping[str, str] = field(default_factory=dict)


_COMMON = {
    "not": "(NOT {0})",
    "and": "({0} AND {1})",
    "or": "({0} OR {1})",
    "is_null": "({0} IS NULL)",
    "is_not_null": "({0} IS NOT NULL)",
    "eq": "({0} = {1})",
    "ne": "({0} <> {1})",
    "lt": "({0} < {1})",
    "le": "({0} <= {1})",
    "gt": "({0} > {1})",
    "ge": "({0} >= {1})",
    "neg": "(-{0})",
    "abs": "abs({0})",
    "sign": "CASE WHEN {0} > 0 THEN 1 WHEN {0} < 0 THEN -1 WHEN {0} = 0 THEN 0 END",
    "null_if": "nullif({0}, {1})",
    "contains": "contains({0}, {1})",
    "replace": "replace({0}, {1}, {2})",
    "split_part": "split_part({0}, {1}, CAST({2} AS INTEGER))",
    "to_bool": "({0} <> 0)",
    "int.mod": "CASE WHEN {1} <> 0 THEN (({0} % {1}) + {1}) % {1} END",
    "float.mod": "CASE WHEN {1} <> 0 THEN CASE WHEN {0} % {1} <> 0 AND ({0} % {1} < 0) <> ({1} < 0) "
    "THEN ({0} % {1}) + {1} ELSE {0} % {1} END + 0e0 END",
}
_MATHS = {
    "div": "CASE WHEN {1} <> 0 THEN {0} / {1} END",
    "sqrt": "CASE WHEN {0} >= 0 THEN sqrt({0}) END",
    "degrees": f"({{0}} * {180.0 / math.pi!r}e0)",
    "radians": f"({{0}} * {math.pi / 180.0!r}e0)",
}
_REMAINDER = "CASE WHEN {0} % {1} <> 0 AND ({0} % {1} < 0) <> ({1} < 0) THEN 1 ELSE 0 END"
_PYTHON_ONLY = "the engine has no such function, and ln(1 + x) or exp(x) - 1 have other digits"

_LOCAL = "timezone({1}, {0})"
DUCKDB = Dialect(
    name="duckdb",
    quote='"',
    escapes={"'": "''"},
    types={"int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "str": "VARCHAR", "time": "TIMESTAMPTZ"},
    let="list_transform([{0}], lambda {1}: {2})[1]",
    finite="isfinite({0})",
    micros="epoch_us({0})",
    instant="make_timestamptz({0})",
    local_us="epoch_us(timezone({1}, make_timestamptz({0})))",
    floor_mod="((({0}) % {1}) + {1}) % {1}",
    int_div="(({0}) // {1})",
    multiply="(CAST({0} AS HUGEINT) * {1})",
    real="CAST(CAST({0} AS VARCHAR) AS DOUBLE)",
    matches="regexp_full_match({0}, '{1}')",
    first_day={
        unit: f"epoch_us(date_trunc('{unit}', {_LOCAL}))"
        for unit in ("day", "week", "month", "quarter", "year")
    },
    templates={
        **_COMMON,
        "int.floordiv": f"CASE WHEN {{1}} <> 0 THEN {{0}} // {{1}} - {_REMAINDER} END",
        "float.floor": "(floor({0}) + 0e0)",
        "float.ceil": "(ceil({0}) + 0e0)",
        "float.trunc": "(trunc({0}) + 0e0)",
        "float.round": f"CASE WHEN abs({{0}} * {{1}}) >= {_WHOLE} THEN {{0}} "
        "ELSE round_even({0} * {1}, 0) / {1} + 0e0 END",
        "length": "length({0})",
        "lower": "lower({0})",
        "upper": "upper({0})",
        "strip": "trim({0}, ' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13))",
        "starts_with": "starts_with({0}, {1})",
        "ends_with": "ends_with({0}, {1})",
        "hash_bucket": "(CAST('0x' || substring(sha256({0}), 1, 13) AS BIGINT) % {1})",
        "float.to_int": "CASE WHEN abs({0}) < 9007199254740992 THEN CAST(trunc({0}) AS BIGINT) END",
        "str.to_int": "CASE WHEN regexp_full_match({0}, '[+-]?[0-9]{{1,18}}') THEN TRY_CAST({0} AS BIGINT) END",
        "str.to_float": "CASE WHEN regexp_full_match({0}, "
        "'[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{{1,5}})?') THEN TRY_CAST({0} AS DOUBLE) END",
        "year": f"year({_LOCAL})",
        "quarter": f"quarter({_LOCAL})",
        "month": f"month({_LOCAL})",
        "week": f"week({_LOCAL})",
        "day": f"day({_LOCAL})",
        "day_of_year": f"dayofyear({_LOCAL})",
        "weekday": f"(isodow({_LOCAL}) - 1)",
        "is_weekend": f"(isodow({_LOCAL}) >= 6)",
        "hour": f"hour({_LOCAL})",
        "minute": f"minute({_LOCAL})",
        "second": f"second({_LOCAL})",
        "minute_of_day": f"(hour({_LOCAL}) * 60 + minute({_LOCAL}))",
    },
    maths={
        **_MATHS,
        **{fn: f"{fn}({{0}})" for fn in ("exp", "sin", "cos", "tan", "atan", "tanh")},
        **{fn: f"CASE WHEN {{0}} > 0 THEN {fn}({{0}}) END" for fn in ("ln", "log2", "log10")},
        **{fn: f"CASE WHEN abs({{0}}) <= 1 THEN {fn}({{0}}) END" for fn in ("asin", "acos")},
        "atan2": "atan2({0}, {1})",
        "pow": "pow({0}, {1})",
        "sigmoid": "CASE WHEN {0} < 0 THEN exp({0}) / (1e0 + exp({0})) ELSE 1e0 / (1e0 + exp(-{0})) END",
    },
    refused={"log1p": _PYTHON_ONLY, "expm1": _PYTHON_ONLY},
)

_US = "unix_micros(from_utc_timestamp({0}, {1}))"
_DATE = f"date_from_unix_date(CAST(({_US} - pmod({_US}, {DAY})) div {DAY} AS INT))"
_OF_DAY = f"pmod({_US}, {DAY})"
_JAVA = "Java's mathematics library gives other last bits than C's"
_EXCEPTIONS = "ßᾀᾁᾂᾃᾄᾅᾆᾇᾐᾑᾒᾓᾔᾕᾖᾗᾠᾡᾢᾣᾤᾥᾦᾧᾳῃῳ"
_CAPITALS = "ẞᾈᾉᾊᾋᾌᾍᾎᾏᾘᾙᾚᾛᾜᾝᾞᾟᾨᾩᾪᾫᾬᾭᾮᾯᾼῌῼ"
SPARK = Dialect(
    name="spark",
    quote="`",
    escapes={"\\": "\\\\", "'": "\\'"},
    types={"int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "str": "STRING", "time": "TIMESTAMP"},
    let="get(transform(array({0}), {1} -> {2}), 0)",
    finite="abs({0}) < double('Infinity')",
    micros="unix_micros({0})",
    instant="timestamp_micros({0})",
    local_us="unix_micros(from_utc_timestamp(timestamp_micros({0}), {1}))",
    floor_mod="pmod({0}, {1})",
    int_div="(({0}) div {1})",
    multiply="try_multiply({0}, {1})",
    real="CAST({0} AS DOUBLE)",
    matches="{0} RLIKE '^{1}$'",
    first_day={
        "day": f"({_US} - pmod({_US}, {DAY}))",
        **{
            unit: f"(CAST(unix_date(trunc({_DATE}, '{unit}')) AS BIGINT) * {DAY})"
            for unit in ("week", "month", "quarter", "year")
        },
    },
    templates={
        **_COMMON,
        "int.floordiv": f"CASE WHEN {{1}} <> 0 THEN {{0}} div {{1}} - {_REMAINDER} END",
        **{
            f"float.{fn}": f"CASE WHEN abs({{0}}) < {_WHOLE} THEN CAST({fn}({{0}}) AS DOUBLE) ELSE {{0}} END"
            for fn in ("floor", "ceil")
        },
        "float.trunc": f"CASE WHEN abs({{0}}) < {_WHOLE} THEN CAST(CAST({{0}} AS BIGINT) AS DOUBLE) ELSE {{0}} END",
        "float.round": f"CASE WHEN abs({{0}} * {{1}}) >= {_WHOLE} THEN {{0}} ELSE rint({{0}} * {{1}}) / {{1}} + 0e0 END",
        "length": "CAST(length({0}) AS BIGINT)",
        "lower": "array_join(transform(split({0}, ''), _c -> CASE WHEN _c = 'İ' THEN 'i' ELSE lower(_c) END), '')",
        "upper": "array_join(transform(split({0}, ''), _c -> CASE WHEN length(upper(_c)) = 1 THEN upper(_c) "
        f"ELSE translate(_c, '{_EXCEPTIONS}', '{_CAPITALS}') END), '')",
        "strip": "trim(BOTH '"
        + "".join(f"\\u{ord(character):04x}" for character in WHITESPACE)
        + "' FROM {0})",
        "starts_with": "startswith({0}, {1})",
        "ends_with": "endswith({0}, {1})",
        "hash_bucket": "(CAST(conv(substring(sha2({0}, 256), 1, 13), 16, 10) AS BIGINT) % {1})",
        "float.to_int": "CASE WHEN abs({0}) < 9007199254740992 THEN CAST({0} AS BIGINT) END",
        "str.to_int": "CASE WHEN {0} RLIKE '^[+-]?[0-9]{{1,18}}$' THEN TRY_CAST({0} AS BIGINT) END",
        "str.to_float": "CASE WHEN {0} RLIKE '^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{{1,5}})?$' "
        "THEN TRY_CAST({0} AS DOUBLE) END",
        **{
            fn: f"CAST({name}({_DATE}) AS BIGINT)"
            for fn, name in {
                "year": "year",
                "quarter": "quarter",
                "month": "month",
                "week": "weekofyear",
                "day": "day",
                "day_of_year": "dayofyear",
                "weekday": "weekday",
            }.items()
        },
        "is_weekend": f"(weekday({_DATE}) >= 5)",
        "hour": f"({_OF_DAY} div {UNITS['h']})",
        "minute": f"(pmod({_US}, {UNITS['h']}) div {UNITS['m']})",
        "second": f"(pmod({_US}, {UNITS['m']}) div {UNITS['s']})",
        "minute_of_day": f"({_OF_DAY} div {UNITS['m']})",
    },
    maths=_MATHS,
    refused={
        **dict.fromkeys(["exp", "expm1", "ln", "log2", "log10", "log1p", "pow", "sigmoid", "tanh"], _JAVA),
        **dict.fromkeys(["sin", "cos", "tan", "asin", "acos", "atan", "atan2"], _JAVA),
    },
)

DIALECTS = {"duckdb": DUCKDB, "spark": SPARK}
