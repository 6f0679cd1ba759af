"""The commands that read: what they print where, as text and as JSON."""

import json
import os
import re
import shutil
from importlib import import_module

import lightgbm
import pandas as pd
import pytest

from tenfold import Platform
from tenfold.automation.audit import KINDS
from tenfold.cli.output import numbers
from tenfold.core.clock import SharedClock
from tenfold.core.times import to_us
from tenfold.monitoring.report import drift
from tenfold.serving.answer.predictions import ONLINE, read
from tenfold.sources.locked import among
from tests.examples import shop
from tests.unit.cli_project import NOW, ROOT, ROW, SHOP, ask, folder_with_history, run

place = pytest.fixture(scope="module")(folder_with_history)


def test_status_counts_what_is_where(place):
    found = ask(place, "status")
    topics = {item["topic"]: item for item in found["topics"]}
    deliveries = topics["deliveries"]
    assert deliveries["log"] == deliveries["states"] == deliveries["lake"] > 300
    assert topics["orders"]["states"] is None
    assert found["production"] == {"late_delivery": 2}
    assert (found["last_decision"]["decision"], found["last_decision"]["by"]) == ("promoted", "ann")
    text = run(place, "status").stdout
    assert "Production of late_delivery: version 2, from run r0002" in text


def test_runs_and_models(place):
    runs = ask(place, "runs")["runs"]
    assert [run["run"] for run in runs if run["status"] == "done"] == ["r0002", "r0001"]
    found = ask(place, "models", "--history")
    assert [(item["version"], item["stage"]) for item in found["versions"]] == [
        (1, "archived"),
        (2, "production"),
    ]
    assert [(item["version"], item["to"]) for item in found["history"]][-2:] == [
        (1, "archived"),
        (2, "production"),
    ]
    assert "history" not in ask(place, "models", "late_delivery")
    assert ask(place, "models list", "late_delivery") == ask(place, "models", "late_delivery")
    version = runs[0]["data"]["orders"]
    for reads in ("orders", f"orders@{version}"):
        assert ask(place, "runs", "--reads", reads)["runs"] == runs
    assert ask(place, "runs", "--reads", f"orders@{version + 1}")["runs"] == []
    best = ask(place, "runs", "--best", "log_loss", "--limit", "1")["runs"]
    assert [run["metrics"]["log_loss"] for run in best] == [min(run["metrics"]["log_loss"] for run in runs)]
    assert "staging to production" in run(place, "models", "--history").stdout


def test_audit_filters(place):
    assert len(ask(place, "audit")["decisions"]) == 2
    one = ask(place, "audit", "--subject", "late_delivery/1")["decisions"]
    assert [item["subject"] for item in one] == ["late_delivery/1"]
    for kind in KINDS:
        found = ask(place, "audit", "--kind", kind)["decisions"]
        assert [item["kind"] for item in found] == [kind] * (2 if kind == "gate" else 0)
        assert f'"{kind}"' in run(place, "audit", "--help").stdout
    assert len(ask(place, "audit", "--limit", "1")["decisions"]) == 1


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        (
            "--kind",
            "rolout",
            'no kind of decision "rolout". Did you mean "rollout"? '
            "Known: gate, monitor, rollback, rollout, score, token, training.",
        ),
        ("--limit", "-1", "Invalid value for '--limit': -1 is not in the range x>=1."),
        ("--limit", "0", "Invalid value for '--limit': 0 is not in the range x>=1."),
    ],
)
def test_audit_refuses_what_it_cannot_list(place, option, value, told):
    refused = run(place, "audit", option, value)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"error: {told}\n")


def test_all_that_is_recorded_is_of_a_kind_that_audit_knows():
    written, found = re.compile(r"audit\.record\(\s*(KIND|\"(\w+)\")"), set()
    for file in (ROOT / "src/tenfold/automation").glob("*.py"):
        for name, kind in written.findall(file.read_text()):
            found.add(kind or getattr(import_module(f"tenfold.automation.{file.stem}"), name))
    assert found == set(KINDS)


def test_predict_is_idempotent_and_reads_stdin(place):
    first = ask(place, "predict", "late_delivery", json.dumps(ROW), "--key", "k1")
    assert (first["version"], first["as_of"]) == (2, "2024-02-10T00:00:00+00:00")
    result = run(place, "predict", "late_delivery", "-", "--key", "k1", text=json.dumps(ROW))
    assert f"score {first['score']:.4f}, decision yes" in result.stdout


def test_features_are_those_that_were_served(place):
    found = ask(place, "features", "late_delivery", json.dumps(ROW), "--at", NOW)
    assert list(found["features"]) == list(shop.late_delivery.columns)
    with shop.project.open(Platform(home=place / "home", clock=SharedClock(place / "clock"))) as app:
        served = read(app.lake, "late_delivery", ONLINE, 0, 2**61)
    numbers = [value for value in found["features"].values() if not isinstance(value, str)]
    places = [i for i, kind in enumerate(shop.late_delivery.columns.values()) if kind != "str"]
    assert served.features[0][places].tolist() == numbers
    assert found["ages_s"]["of_customer"] > 0


def test_monitor_shows_weeks_and_drift_by_rank(place):
    found = ask(place, "monitor", "--window", "14d")
    weeks, drifted = found["weeks"], found["drift"]
    assert [week["start"][:10] for week in weeks] == ["2024-01-15", "2024-01-22", "2024-01-29"]
    assert sum(week["rows"] for week in weeks) == 160, (
        "20 January to the last instant before 5 February, ten a day"
    )
    assert set(weeks[0]["metrics"]) == {"roc_auc", "log_loss"}
    assert drifted["rows"] == 140, "fourteen days in batch; the online one is as of the end"
    scores = [row["score"] for row in drifted["features"] if "unimportant" not in row["verdict"]]
    assert scores == sorted(scores, reverse=True)
    assert "Drift of 140 predictions by version 2" in run(place, "monitor", "--window", "14d").stdout


def test_drift_without_predictions_has_no_verdict(place):
    with shop.project.open(Platform(home=place / "home", clock=SharedClock(place / "clock"))) as app:
        found = drift(app.lake, app.versions.production(shop.late_delivery), 0, 1)
    assert found.rows == 0
    assert {row["verdict"] for row in found.features} == {"no data"}


def test_rebuild_gives_the_same_bytes(place):
    found = ask(place, "models rebuild", "late_delivery", "1")
    assert (found["run"], found["model"], found["version"]) == ("r0001", "late_delivery", 1)
    assert (found["same"], found["stored"], found["why"]) == (True, "whole", [])


def test_a_model_file_is_registered_as_a_version(place, tmp_path):
    with shop.project.open(Platform(home=place / "home", clock=SharedClock(place / "clock"))) as app:
        rows = app.training_set("late_delivery")
    frame = pd.DataFrame({name: item.plain() for name, item in rows.columns.items()}).convert_dtypes()
    frame = frame.astype(
        {name: "category" if item.type == "str" else float for name, item in rows.columns.items()}
    )
    params = {"verbosity": -1, "num_threads": 1}
    lightgbm.train(params, lightgbm.Dataset(frame, rows.y), 5).save_model(tmp_path / "named.txt")
    bare = frame.set_axis(range(frame.shape[1]), axis=1)
    lightgbm.train(params, lightgbm.Dataset(bare, rows.y), 5).save_model(tmp_path / "theirs.txt")
    file = str(tmp_path / "theirs.txt")
    result = run(place, "models register", "late_delivery", file)
    assert result.exit_code == 2, result.stdout
    assert 'takes "0", which is no column of model "late_delivery"' in result.stderr
    told = [part for name in rows.columns for part in ("--column", name)]
    given = ["late_delivery", file, *told, "--trained-until", "2024-01-20"]
    mixed = run(place, "models register", *given, "--column", "a=b")
    assert (mixed.exit_code, "for each column" in mixed.stderr) == (2, True)
    found = ask(place, "models register", *given)
    assert (found["model"], found["what"]) == ("late_delivery", file)
    assert found["metrics"]["roc_auc"] > 0.5
    named = ask(
        place, "models register", "late_delivery", str(tmp_path / "named.txt"), "--as-of", "2024-02-08"
    )
    assert named["version"] == found["version"] + 1
    assert ask(place, "models show", "late_delivery", str(named["version"]))["period"].endswith("2024-02-03")
    told = run(place, "models show", "late_delivery", str(found["version"])).stdout
    assert "make it again no: it was trained elsewhere" in " ".join(told.split())
    again = run(place, "models rebuild", "late_delivery", str(found["version"]))
    assert (again.exit_code, "trained elsewhere" in again.stdout) == (1, True)


def test_rejects_count_reasons_and_show_rows(tmp_path):
    SharedClock(tmp_path / "clock").set(to_us(NOW))
    file = tmp_path / "orders.ndjson"
    file.write_text(
        "\n".join(
            json.dumps(ROW | {"order_id": str(i), "amount": amount}) for i, amount in enumerate([5, -1, -2])
        )
    )
    result = run(tmp_path, "ingest", "orders", str(file))
    assert result.exit_code == 0
    assert result.stdout == "orders: 1 row stored, 2 set aside\n"
    assert '2 of 3 rows of source "orders" were set aside: not true: amount > 0 (2).' in result.stderr
    found = ask(tmp_path, "rejects", "orders")
    assert found["counts"] == [{"source": "orders", "reason": "not true: amount > 0", "rows": 2}]
    assert [row["row"]["amount"] for row in found["rows"]] == [-2, -1]
    assert ask(tmp_path, "rejects")["rows"] == []
    assert '"order_id":"2"' in run(tmp_path, "rejects", "orders").stdout


def test_an_ingest_of_which_nothing_fits_exits_with_1_and_counts_its_reasons(tmp_path):
    SharedClock(tmp_path / "clock").set(to_us(NOW))
    file = tmp_path / "orders.ndjson"
    file.write_text("\n".join(json.dumps(ROW | {"amount": amount}) for amount in (-1, "2", -2)))
    result = run(tmp_path, "ingest", "orders", str(file), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "source": "orders",
        "stored": 0,
        "rejected": 3,
        "reasons": {"not true: amount > 0": 2, '"amount" is text, not a number': 1},
    }


@pytest.mark.parametrize(
    ("verb", "told"),
    [("score", "no row is predicted in this period"), ("skew", "nothing was served in this period")],
)
def test_a_period_in_which_there_is_nothing_is_told(place, verb, told):
    result = run(place, verb, "--start", "2001-01-01", "--end", "2001-01-02")
    assert (result.exit_code, result.stdout) == (0, f"late_delivery: {told}\n")


def test_a_version_with_a_metric_that_could_not_be_computed_is_listed(tmp_path):
    clock = SharedClock(tmp_path / "clock")
    info = {"metrics": {"roc_auc": float("nan"), "log_loss": 0.5}}
    with shop.project.open(Platform(home=tmp_path / "home", clock=clock)) as app:
        app.registry.register("late_delivery", run_id="r0001", digest="d", artefact="a", info=info)
    assert ask(tmp_path, "models")["versions"][0]["metrics"] == {"roc_auc": None, "log_loss": 0.5}
    assert "roc_auc \N{EN DASH}, log_loss 0.5000" in run(tmp_path, "models").stdout


def test_metrics_that_could_not_be_computed_are_a_dash_and_others_what_they_are():
    found = numbers({"roc_auc": None, "log_loss": float("nan"), "lift": float("inf"), "rmse": 0.5})
    assert found == "roc_auc \N{EN DASH}, log_loss NaN, lift +inf, rmse 0.5000"


def test_json_is_all_that_is_on_stdout(place):
    result = run(place, "models rebuild", "late_delivery", "2", "--json")
    assert json.loads(result.stdout)["same"] is True
    assert "train late_delivery again" in result.stderr


def test_explain_shows_the_records_behind_a_value(place):
    item = ROW["item"]
    found = ask(place, "explain", "of_item.days_7d", str(item), "--limit", "3")
    assert found["feature"] == "of_item.days_7d"
    assert found["key"] == {"item": item}
    (part,) = found["parts"]
    assert len(part["records"]) == 3
    assert part["value"] == found["value"]
    assert set(part["records"][0]) == {"id", "event", "known", "value", "status"}
    text = run(place, "explain", "of_item.days_7d", json.dumps({"item": item})).stdout
    assert "mean(days, window=604800s) = " in text
    assert 'Did you mean "of_item.days_7d"' in run(place, "explain", "of_item.days_7", "1").stderr


def test_retire_leaves_the_states_of_what_is_declared(place):
    assert ask(place, "retire") == {"states": 0}
    quiet = run(place, "retire")
    assert (quiet.stdout, quiet.stderr) == ("0 states removed\n", "")
    with among(place / "home/running", "worker"):
        done = run(place, "retire")
    assert done.stdout == "0 states removed\n"
    assert done.stderr.startswith(f"a worker is at work on this home, process {os.getpid()} on ")
    assert done.stderr.endswith("Start it again, and then this command.\n")


def test_a_run_is_shown_as_text_as_json_and_as_a_page(place, tmp_path):
    page = tmp_path / "run.html"
    found = ask(place, "runs show", "r0002", "--html", str(page))
    assert (found["run"], found["model"], found["status"]) == ("r0002", "late_delivery", "done")
    assert [item["version"] for item in found["versions"]] == [2]
    assert found["data"]["orders"] >= 0
    assert found["environment"]["libraries"]["lightgbm"]
    assert [item["name"] for item in found["features"]] == list(shop.late_delivery.columns)
    assert ask(place, "runs show", "late_delivery/2") == found
    assert page.read_text().startswith("<!doctype html>")
    result = run(place, "runs show", "r0002", "--html", str(page))
    assert result.stderr == f"wrote {page}\n"
    assert "Run r0002 of late_delivery" in result.stdout
    assert f"roc_auc {found['metrics']['roc_auc']:.4g}" in " ".join(result.stdout.split())


def test_a_note_is_shown_with_its_run(place):
    assert ask(place, "runs note", "late_delivery/1", "first try", "--by", "ann")["run"] == "r0001"
    (found,) = ask(place, "runs show", "r0001")["notes"]
    assert (found["by"], found["text"]) == ("ann", "first try")
    assert "first try" in run(place, "runs show", "r0001").stdout


def test_two_runs_are_compared_rows_first(place, tmp_path):
    page = tmp_path / "both.html"
    found = ask(place, "runs compare", "r0001", "late_delivery/2", "--html", str(page))
    assert list(found)[:4] == ["a", "b", "rows", "metrics"]
    assert found["rows"]["same"] is True
    assert (found["metrics"], found["params"], found["code"]) == ([], [], [])
    text = run(place, "runs compare", "r0001", "r0002").stdout
    assert text.startswith("r0001 and r0002: same rows and labels\n")
    assert "not changed: metrics, slices that moved, parameters, tables, code, environment, features" in text
    assert "same rows and labels" in page.read_text()


def test_a_difference_that_may_be_chance_is_marked(place, tmp_path):
    home = shutil.copytree(place, tmp_path / "shop")
    ask(home, "train", "late_delivery", "--as-of", "2024-02-09")
    found = ask(home, "runs compare", "late_delivery/1", "late_delivery/3")
    assert found["rows"]["same"] is False
    unsure = [item for item in found["metrics"] if item["better"] and not item["apart"]]
    text = run(home, "runs compare", "late_delivery/1", "late_delivery/3").stdout
    assert text.startswith("late_delivery/1 and late_delivery/3: not the same rows\n")
    assert text.count(", within the intervals") == len(unsure) > 0


def test_a_version_is_shown_as_a_card(place, tmp_path):
    page = tmp_path / "card.html"
    found = ask(place, "models show", "late_delivery", "2", "--html", str(page))
    assert (found["model"], found["version"], found["stage"], found["run"]) == (
        "late_delivery",
        2,
        "production",
        "r0002",
    )
    assert found["rebuild"] == f"tenfold models rebuild {SHOP} late_delivery 2"
    assert [move["to"] for move in found["history"]] == ["staging", "production"]
    assert found["gates"][-1]["evidence"]["results"][0]["check"] == "roc_auc at least 0.6"
    assert found["run_of"]["run"] == "r0002"
    text = run(place, "models show", "late_delivery", "2").stdout
    assert "late_delivery version 2, from run r0002" in text
    assert "staging to production" in text
    shares = sorted((item["importance"] for item in found["features"] if item["importance"]), reverse=True)
    listed = text.partition(f"Features that matter most, of {len(found['features'])}\n")[2].splitlines()[1:]
    best = next(item["name"] for item in found["features"] if item["importance"] == shares[0])
    assert listed[0].split()[0] == best
    assert found["label"] == "last(late) of arrived on order_id within 5d"
    defined = {item["name"]: item["definition"] for item in found["features"]}
    assert defined["this_order.amount"] == "amount"
    assert defined["of_customer.late_14d"] == "mean(late, window=14d) of arrived by customer"
    assert f"predicts {found['label']}" in " ".join(text.split())
    assert "mean(late, window=14d) of arrived by customer" in page.read_text()
    assert "made with lightgbm" in " ".join(text.split())
    assert "roc_auc at least 0.6" in page.read_text()
