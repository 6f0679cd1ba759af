"""A shop on disk, and its commands called in this process or as processes of their own."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tenfold.cli import cli
from tenfold.core.clock import SharedClock
from tenfold.core.times import to_us
from tests.examples import shop

ROOT = Path(__file__).parents[2]
SHOP = str(ROOT / "tests/examples/shop.py")
NOW = "2024-02-10"
ROW = {
    "order_id": "n1",
    "customer": "c0",
    "item": "sofa",
    "amount": 20,
    "placed": "2024-02-09T00:00:00+00:00",
    "ships": "2024-02-10T00:00:00+00:00",
}


def folder_with_history(shop_with_history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the folder that is made once."""
    return shutil.copytree(shop_with_history, tmp_path_factory.mktemp("shop") / "copy")


def build(folder: Path) -> None:
    """Make a folder with a shop that has history, two versions, batch scores and an online prediction."""
    SharedClock(folder / "clock").set(to_us(NOW))
    sources = zip(("orders", "deliveries"), ("placed", "delivered"), shop.history(), strict=True)
    for name, moment, rows in sources:
        known = [row for row in rows if to_us(row[moment]) < to_us(NOW)]
        (folder / f"{name}.ndjson").write_text("\n".join(json.dumps(row, default=str) for row in known))
        assert ask(folder, "ingest", name, str(folder / f"{name}.ndjson"), "--history")["rejected"] == 0
    for number in (1, 2):
        assert ask(folder, "train")["version"] == number
        assert ask(folder, "promote", "late_delivery", str(number), "--by", "ann")["stage"] == "production"
    ask(folder, "score", "--start", "2024-01-20", "--end", NOW)
    ask(folder, "predict", "late_delivery", json.dumps(ROW), "--key", "k1")


def run(place: Path, verb: str, *args: str, text: str | None = None) -> Result:
    options = ["--home", str(place / "home"), "--clock", str(place / "clock")]
    return CliRunner().invoke(cli, [*verb.split(), SHOP, *args, *options], input=text)


def ask(place: Path, verb: str, *args: str) -> dict:
    result = run(place, verb, *args, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def start(*args: str, **options) -> subprocess.Popen:
    """Start tenfold as a process of its own."""
    command = [sys.executable, "-m", "tenfold.cli", *args]

    def hear_interrupts():  # a shell that runs the tests in the background has them ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=hear_interrupts, **options
    )


def wait_for(process: subprocess.Popen, text: str) -> None:
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f'the process ended without saying "{text}"')
