"""The page docs/label-delay.md says what happens: what each declaration sees, and what is refused."""

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from lightgbm import LGBMClassifier

from examples.fraud import forgot
from examples.fraud.data import Messages, World, simulate
from examples.fraud.protocol import Periods, opened, within_reach
from tenfold import Events, Label, Model, col
from tenfold.core.errors import SchemaError
from tenfold.core.times import DAY, to_us

PAGE = (Path(__file__).parents[2] / "docs" / "label-delay.md").read_text()
MATURE = to_us("2024-08-01")


@pytest.fixture(scope="module")
def page():
    names = {"__name__": "page"}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        exec(block, names)
    return names


def test_the_page_declares_what_is_measured(page):
    for name, model in page["DECLARED"].items():
        assert model.fingerprint == forgot.DECLARED[name].fingerprint
        assert model.columns == forgot.DECLARED["honest"].columns
    assert list(page["DECLARED"]) == list(forgot.DECLARED)


def told():
    """Return the three payments of the page, and what each column of its table says of them."""
    lines = re.findall(r"^\| [ABC], (\d+) July (\d\d):00 \| (yes|no) \| (.*) \|$", PAGE, re.MULTILINE)
    payments = [
        {
            "tx_id": place,
            "terminal_id": 7,
            "fraud": stolen == "yes",
            "at": datetime(2024, 7, int(day), int(hour), tzinfo=UTC),
            "amount": 1.0,
        }
        for place, (day, hour, stolen, _) in enumerate(lines)
    ]
    cells = [[float(cell.strip("* ")) for cell in line[3].split("|")] for line in lines]
    return payments, dict(
        zip(("honest", "no_offset", "no_delay", "own_label"), np.transpose(cells), strict=True)
    )


class Payment:
    tx_id: int
    terminal_id: int
    at: datetime


def model(view):
    """Return a model of the page's feature alone; the row is its own outcome where there is one table."""
    one_table = view.source.name == "paid"
    spine = view.source if one_table else Events("payments", Payment, time="at", id="tx_id")
    label = Label(view.source, on="tx_id", value=col("fraud"), horizon="1s")
    return Model("stolen", spine=spine, features=[view], label=label, estimator=LGBMClassifier())


@pytest.mark.parametrize("name", ["honest", "no_offset", "no_delay", "own_label"])
def test_the_page_says_what_each_declaration_sees(page, tmp_path, name):
    payments, table = told()
    assert len(payments) == 3
    asked = model(page[name])
    parts = {}
    for source in (asked.spine, asked.label.source):
        rows = [{field: row[field] for field in source.fields} for row in payments]
        parts[source.name] = Messages(pa.Table.from_pylist(rows), np.zeros(3, dtype=np.int64))
    with opened(asked, tmp_path / "home", parts, MATURE) as app:
        seen = app.dataset(asked).columns["risk.fraud_7d"]
    assert seen.numbers().tolist() == table[name].tolist()


TOWN = World(customers=300, terminals=400, radius=20, days=60)
PERIODS = Periods(
    learn=(TOWN.start + 38 * DAY, TOWN.start + 45 * DAY), test=(TOWN.start + 52 * DAY, TOWN.start + 59 * DAY)
)


@pytest.fixture(scope="module")
def parts():
    return forgot.with_outcomes(within_reach(simulate(TOWN, np.random.default_rng(0)), PERIODS))


def test_what_looks_perfect_offline_is_not_when_served(parts, tmp_path):
    from sklearn.ensemble import RandomForestClassifier

    def forest():
        return RandomForestClassifier(20, random_state=0)

    steps = []
    found = forgot.compare(parts, PERIODS, forest, tmp_path, steps.append)
    precision = {
        name: [item[where]["average_precision"] for where in ("offline", "served")]
        for name, item in found.items()
    }
    assert len(steps) == 6
    assert precision["honest"][0] == precision["honest"][1]
    assert precision["own label"][0] > 0.97 > precision["no delay"][0] > precision["honest"][0]
    assert precision["own label"][1] < precision["honest"][1]


def test_a_request_without_its_outcome_is_refused(parts, tmp_path):
    asked = {"tx_id": 1, "customer_id": 1, "terminal_id": 1, "amount": 5.0, "at": "2018-06-01T12:00:00+00:00"}
    mistaken = forgot.DECLARED["own label"]
    with (
        opened(mistaken, tmp_path / "home", parts, PERIODS.mature) as app,
        pytest.raises(SchemaError, match='"fraud" is missing'),
    ):
        app.features(mistaken, asked)
