"""docs/expressions.md lists every function of the closed list, and every example on it gives what it says."""

import re
from pathlib import Path

import pytest

from tenfold import col
from tenfold.core.expr import AS_OF
from tenfold.core.functions import FUNCTIONS
from tenfold.core.times import UNITS, to_us
from tenfold.processing.bring import as_decimal
from tenfold.processing.compiled import compile_row
from tenfold.processing.dialects import DIALECTS
from tenfold.processing.evaluate import evaluate
from tenfold.processing.frame import column

PAGE = (Path(__file__).parents[2] / "docs/expressions.md").read_text()
EXAMPLES = re.findall(r"^\| `(\w+)` \| `(.+?)` \| (.+?) \| ", PAGE, flags=re.MULTILINE)
ROW = {
    "x": ("float", -7.5),
    "y": ("float", 2.0),
    "n": ("int", 7),
    "m": ("int", -3),
    "yes": ("bool", True),
    "no": ("bool", False),
    "none": ("float", None),
    "word": ("str", "Ab,c"),
    "part": ("str", "b"),
    "at": ("time", to_us("2024-03-10T07:30:00+00:00")),
    "before": ("time", to_us("2024-02-29T23:00:00+00:00")),
}
ROW[AS_OF] = ("time", ROW["at"][1] + UNITS["h"])


def test_every_function_is_on_the_page():
    assert sorted(name for name, _, _ in EXAMPLES) == sorted(FUNCTIONS)


@pytest.mark.parametrize(("fn", "written", "gives"), EXAMPLES, ids=[name for name, _, _ in EXAMPLES])
def test_example(fn, written, gives):
    expr = eval(written.replace("\\|", "|"), {name: col(name) for name in ROW})
    assert fn in {node.fn for node in expr.walk()}
    frame = {name: column(kind, [value]) for name, (kind, value) in ROW.items()}
    found = evaluate(expr, frame, 1)
    assert repr(as_decimal(found.plain()[0], found.type)) == gives
    row = compile_row({"it": expr}, {name: kind for name, (kind, _) in ROW.items()})
    assert repr(as_decimal(row({name: value for name, (_, value) in ROW.items()})[0], found.type)) == gives


def test_what_engines_refuse_is_on_the_page():
    for name, engine in (("DuckDB", "duckdb"), ("Spark", "spark")):
        listed = re.search(rf"^\| {name} \| (.+?) \|", PAGE, flags=re.MULTILINE)
        assert set(listed[1].split(", ")) == set(DIALECTS[engine].refused)
