"""The commands that decide: skew, gates, rollback, replay and the self-test."""

import json
from contextlib import closing

import numpy as np
import pytest
from click.testing import CliRunner

from tenfold import Platform
from tenfold.cli import cli
from tenfold.cli.doctor import MOST_AHEAD, _arrived_after
from tenfold.cli.selftest import compare
from tenfold.core.clock import SharedClock, SystemClock, VirtualClock
from tenfold.core.times import DAY, iso
from tenfold.serving.answer.predictions import ONLINE, read
from tenfold.sources.log import SQLiteLog
from tenfold.sources.memory import MemoryLog
from tests.examples import shop
from tests.unit.cli_project import ROOT, SHOP, ask, folder_with_history, run

place = pytest.fixture(scope="module")(folder_with_history)


def test_skew_is_found(place, tmp_path):
    assert ask(place, "skew")["mismatches"] == 0
    with shop.project.open(Platform(home=place / "home", clock=SharedClock(place / "clock"))) as app:
        served = read(app.lake, "late_delivery", ONLINE, 0, 2**61).take(np.array([0]))
        served.features[0, 0] = np.nextafter(served.features[0, 0], np.inf)
        served.id[:] = ["tampered"]
        app.predictions.write(served, key="tampered")
    result = run(place, "skew", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "model": "late_delivery",
        "rows": 2,
        "values": 12,
        "mismatches": 1,
        "features": {"this_order.amount": 1},
        "left": 0,
    }


def test_a_gate_says_no_and_rollback_goes_back(place):
    file = place / "strict.py"
    file.write_text(
        "from tenfold import Project, Release, checks\n"
        "from tests.examples.shop import late_delivery\n"
        "release = Release(late_delivery, gates=[checks.at_least('roc_auc', 0.999)])\n"
        "project = Project('strict', releases=[release])\n"
    )
    number = str(ask(place, "train")["version"])
    options = ["--home", str(place / "home"), "--clock", str(place / "clock")]
    refused = CliRunner().invoke(cli, ["promote", str(file), "late_delivery", number, *options])
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"error: late_delivery version {number} was refused: roc_auc 0.")
    assert ", at least 0.999 needed (test rows: " in refused.stderr
    assert ask(place, "rollback", "late_delivery", "--why", "errors rose")["version"] == 1
    assert ask(place, "status")["production"] == {"late_delivery": 1}
    nothing = run(place, "rollback", "late_delivery")
    assert nothing.exit_code == 3
    assert nothing.stderr == (
        'error: no earlier production version of model "late_delivery". '
        f"One that was there later comes back: tenfold rollback {SHOP} late_delivery --to 2.\n"
    )
    back = run(place, "rollback", "late_delivery", "--to", "2", "--why", "mistaken").stdout
    assert back.startswith(
        "late_delivery version 2 is in production again: mistaken\nversion 1 comes back with: "
    )
    assert back.endswith(" late_delivery --to 1\n")
    assert run(place, "rollback", "late_delivery", "--to", number).exit_code == 5
    assert ask(place, "rollback", "late_delivery")["version"] == 1
    again = run(place, "promote", "late_delivery", "1")
    assert (again.exit_code, again.stdout) == (0, "late_delivery version 1 is already in production\n")


def test_a_replay_does_not_touch_a_home_with_a_version_in_production(place):
    args = ["--start", "2024-02-01", "--end", "2024-02-10", "--home", str(place / "home")]
    decisions = ask(place, "audit")
    result = CliRunner().invoke(cli, ["replay", SHOP, *args])
    assert result.exit_code == 2
    number = ask(place, "status")["production"]["late_delivery"]
    assert result.stderr == (
        f'error: "{place}/home" has late_delivery version {number} in production, and a replay would write history\'s '
        "decisions there. Copy the home and name the copy, or name a new one: --home PATH. To replay here all the same, "
        "for example to go on with a replay: --yes.\nhelp:  cli replay --help\n"
    )
    assert ask(place, "audit") == decisions


def test_replay_trains_the_first_version_and_tells_every_day(place, tmp_path):
    for name in ("orders", "deliveries"):
        file = str(place / f"{name}.ndjson")
        args = ["ingest", SHOP, name, file, "--history", "--home", str(tmp_path / "home")]
        assert CliRunner().invoke(cli, args).exit_code == 0
    args = ["--start", "2024-02-01", "--end", "2024-02-10", "--home", str(tmp_path / "home")]
    result = CliRunner().invoke(cli, ["replay", SHOP, *args, "--json"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [day["day"] for day in found["days"]] == [f"2024-02-0{day}" for day in range(1, 10)]
    assert (found["scored"], found["production"]) == (90, 1)
    assert "week of 2024-02-08 (2) ..." in result.stderr
    again = CliRunner().invoke(cli, ["replay", SHOP, *args, "--yes"])
    assert again.exit_code == 0, again.stderr


def test_doctor_is_content_and_says_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(cli, ["doctor", SHOP, "--home", str(tmp_path), "--port", "0", "--json"])
    found = {item["check"]: item for item in json.loads(result.stdout)["checks"]}
    assert found["batch = online"]["found"] == "0 of 175 values differ"
    assert found["project"]["found"] == "shop: 2 sources, 3 views, 1 model"
    assert result.exit_code == 0
    wrong = CliRunner().invoke(cli, ["doctor", "nothing.py", "--home", str(tmp_path), "--port", "0"])
    assert wrong.exit_code == 1
    assert "no file" in wrong.stdout


def doctor_on_clock(home):
    """Return what doctor finds about the clock, nothing when it does not look."""
    result = CliRunner().invoke(cli, ["doctor", "--home", str(home), "--port", "0", "--json"])
    found = [item for item in json.loads(result.stdout)["checks"] if item["check"] == "clock"]
    assert result.exit_code == (0 if all(item["ok"] for item in found) else 1)
    return found


def test_doctor_finds_since_when_a_clock_was_ahead(tmp_path):
    assert doctor_on_clock(tmp_path) == []
    assert not list(tmp_path.iterdir())
    before, clock = SystemClock().now(), VirtualClock(SystemClock().now())
    with closing(SQLiteLog(tmp_path / "log.db", clock)) as log:
        for topic, count in (("visits", 3), ("orders", 9), ("visits", 4)):
            log.append(topic, b"", count)
        clock.set(before + MOST_AHEAD // 2)
        log.append("orders", b"", 1)
        (fine,) = doctor_on_clock(tmp_path)
        assert (fine["ok"], fine["found"][-18:], fine["fix"]) == (True, "not behind the log", "")
        ahead = before + 400 * DAY
        for moment, topic, count in (
            (ahead, "visits", 5),
            (ahead + 1, "orders", 2),
            (ahead + 2, "visits", 1),
        ):
            clock.set(moment)
            log.append(topic, b"", count)
    (wrong,) = doctor_on_clock(tmp_path)
    assert not wrong["ok"]
    assert wrong["found"].endswith(
        ", 400 d behind the log: a clock was ahead when records arrived from offset 7 of visits on, the newest at "
        + iso(ahead + 2)
    )
    assert wrong["fix"].startswith(f"Set the clock right. Until {iso(ahead + 2)} requests are as of then")


@pytest.mark.parametrize("early", [[], [10], [1, 1, 1], [3, 100, 1, 7]])
@pytest.mark.parametrize("late", [[], [1], [10], [5, 1, 30]])
def test_the_first_late_batch_is_found_wherever_batches_begin(early, late):
    clock = VirtualClock(5)
    log = MemoryLog(clock)
    for count in early:
        log.append("visits", b"", count)
    clock.set(6)
    batches = [log.append("visits", b"", count) for count in late]
    assert _arrived_after(log, "visits", sum(early) + sum(late), 5) == next(iter(batches), None)


def test_the_self_test_can_fail(monkeypatch):
    monkeypatch.setattr("tenfold.cli.selftest._bits", lambda value, valid: object())
    values, differing = compare()
    assert values == differing == 175
