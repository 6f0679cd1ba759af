"""Edge values of every type, each pair of one type once, and some rows by chance."""

from itertools import product

import numpy as np

from tenfold.core.expr import AS_OF
from tenfold.core.times import to_us

TYPES = {
    "a": "float",
    "b": "float",
    "i": "int",
    "j": "int",
    "p": "bool",
    "q": "bool",
    "s": "str",
    "u": "str",
    "t": "time",
    "v": "time",
    "d": "decimal(2)",
    "e": "decimal(2)",
    "k": "decimal(5)",
    AS_OF: "time",
}
LARGEST = 2.0**43
FLOATS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    -3.5,
    2.675,
    0.1,
    -7.3,
    3.0,
    5e-324,
    -1e-300,
    1e-10,
    710.5,
    -745.2,
    LARGEST - 1,
    -LARGEST,
    2.0**52 - 0.5,
    1e17,
    -1e308,
    1.7976931348623157e308,
    None,
]
INTS = [0, 1, -1, 2, -2, 3, -3, 7, -7, 10, 255, 2**26, 2**43 - 1, -(2**43) + 1, 2**53 - 1, -(2**53) + 1, None]
UNITS = [
    0,
    1,
    -1,
    5,
    -50,
    99,
    100,
    -150,
    1230,
    250_000,
    10**17,
    -(10**17) + 1,
    10**18 - 1,
    -(10**18) + 1,
    2**53 + 1,
    None,
]
BOOLS = [True, False, None]
TEXTS = [
    "",
    " ",
    "a",
    "b",
    "ab",
    "aab",
    "Straße",
    "ΑΣ",
    "İi",
    "ᾳ",
    "été\u0301",
    "支付",
    "\U0001f600x",
    " \t12\n",
    "-7",
    "+08",
    "1e3",
    ".5",
    "5.",
    "12345678901234567890",
    "9007199254740992",
    "1_0",
    "nan",
    "1e999",
    "2.675",
    "a,b,c",
    ",",
    "it's 100% \\ {0}",
    "\u00a0x\u2003",
    None,
]
TIMES = [
    "1970-01-01",
    "1969-12-31T23:59:59.999999+00:00",
    "1960-02-29T12:00:00+00:00",
    "2000-02-29T23:59:59.5+00:00",
    "2004-12-31T23:30:00+00:00",  # 2005-01-01 in Kolkata
    "2008-12-29T00:00:00+00:00",  # the first week of 2009
    "2010-01-03T23:59:59+00:00",  # the last week of 2009
    "2013-03-10T06:59:59.999999+00:00",  # New York: the clocks go forward
    "2013-03-10T07:00:00+00:00",
    "2013-11-03T05:30:00+00:00",  # New York: 01:30 for the first and for the second time
    "2013-11-03T06:30:00+00:00",
    "2013-04-06T14:59:59+00:00",  # Lord Howe: half an hour back
    "2013-04-06T15:00:00+00:00",
    "2013-10-05T15:30:00+00:00",  # Lord Howe: half an hour forward
    "2013-11-03T04:30:00+00:00",  # Havana: 00:30 for the first and for the second time
    "2013-11-03T05:30:00+00:00",
    "2013-11-03T14:00:00+00:00",
    "2013-10-20T02:59:59+00:00",  # Sao Paulo: no midnight
    "2013-10-20T15:00:00+00:00",
    "2011-12-30T09:59:59+00:00",  # Apia: no 30th of December
    "2011-12-30T10:00:00+00:00",
    "2023-12-31T18:29:59+00:00",  # Kolkata: the last second of the year
    "2024-02-29T00:00:00+00:00",
    "2024-12-31T23:59:59.999999+00:00",
    "2100-02-28T23:59:59+00:00",
    None,
]
ZONES = (
    "UTC",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Havana",
    "America/Sao_Paulo",
    "Pacific/Apia",
)


def rows():
    """Return rows as mappings: every pair of edge values of one type, then values by chance."""
    times = [None if text is None else to_us(text) for text in TIMES]
    pairs = [list(product(values, values)) for values in (FLOATS, INTS, BOOLS, TEXTS, times, UNITS)]
    length = max(map(len, pairs))
    chance = np.random.default_rng(7)
    made = [
        dict(
            zip(
                TYPES,
                [*(value for pair in pairs for value in pair[place % len(pair)]), UNITS[place % 7], 1.6e15],
                strict=True,
            )
        )
        for place in range(length)
    ] + [_by_chance(chance) for _ in range(300)]
    for row in made:
        row[AS_OF] = int(row[AS_OF])
    return made


def _by_chance(chance):
    floats = (chance.normal(size=2) * 10.0 ** chance.integers(-6, 8, size=2)).tolist()
    ints = chance.integers(-(2**43), 2**43, size=2).tolist()
    letters = ["".join(chance.choice(list("abAB ,xßé支"), size=chance.integers(0, 6))) for _ in "su"]
    times = chance.integers(0, to_us("2037-01-01"), size=2).tolist()
    units = (
        (10 ** chance.uniform(0, 17.99, size=3) * chance.choice([-1, 1], size=3)).astype(np.int64).tolist()
    )
    values = [
        *floats,
        *ints,
        *(chance.random(2) < 0.5).tolist(),
        *letters,
        *times,
        *units,
        to_us("2024-05-05"),
    ]
    return dict(zip(TYPES, values, strict=True))
