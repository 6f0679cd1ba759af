"""Pages of runs, versions and comparisons: true to their documents, safe with hostile names, and nothing is loaded."""

import json
import math
import re
import xml.etree.ElementTree as ET
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tenfold import Platform
from tenfold.core.clock import SharedClock
from tenfold.core.errors import DefinitionError, NotFound
from tenfold.training.classes import by_class
from tenfold.ui import axes, svg
from tenfold.ui.card import card
from tenfold.ui.charts import Interval, whiskers
from tenfold.ui.compare_page import compare_page
from tenfold.ui.documents import compare_document, plain, run_document, version_document
from tenfold.ui.evaluated import sections
from tenfold.ui.report import fragment, page, table
from tenfold.ui.run_page import run_page
from tests.examples import tiny

HOSTILE = "</td></style></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x00\x1b[31m\u202e"
EVALUATION = json.loads((Path(__file__).parent / "evaluation.json").read_text())
SCRIPT = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>'


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    home = tmp_path_factory.mktemp("tiny") / "home"
    tiny.build(home)
    with tiny.project.open(Platform(home=home, clock=SharedClock(home / "clock"))) as app:
        yield app


@pytest.fixture
def document(app):
    """Return a version with a real evaluation of flights."""
    return version_document(app.kept, "late_order", 1) | {"evaluation": deepcopy(EVALUATION)}


def tried(app, title="try", **params):
    X = np.random.default_rng(0).normal(size=(80, 2))
    with app.track(title, params=params) as run:
        run.fit(LogisticRegression(), X[:60], X[:60, 0] > 0, test=(X[60:], X[60:, 0] > 0))
        for value in (1.0, 0.5, math.nan, math.inf, 0.25):
            run.log("loss", value)
        run.log("last", math.nan)
        run.attach("plots/a.svg", SCRIPT)
        run.attach("notes.txt", "plain")
    return run.id


def parse(html):
    """Return the document; pages are written so strictly that they are XML as well."""
    return ET.fromstring(html.removeprefix("<!doctype html>"))


def check_safe(html):
    root = parse(html)
    tags = [element.tag.split("}")[-1] for element in root.iter()]
    assert not set(tags) & {"script", "iframe", "object", "embed", "form", "a", "base"}
    assert [tag for tag in tags if tag == "link"] == ["link"] * html.count('rel="icon"')
    for element in root.iter():
        assert not [key for key in element.attrib if key.startswith("on")]
        for key in ("src", "href", "srcset", "data", "action"):
            assert element.get(key, "data:").startswith("data:")
        if element.tag == "style":
            assert not re.findall("https?://|url\\(|@import", element.text)
    assert "\x00" not in html
    assert "\u202e" not in html
    return "".join(root.itertext())


def hostile(value):
    """Return a document in which every text is hostile."""
    if isinstance(value, dict):
        return {
            (HOSTILE if key.startswith(("trip.", "of_", "odd")) else key): hostile(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value


def test_a_card_is_safe_with_hostile_names(document):
    evaluation = hostile(document["evaluation"])
    for item in evaluation["slices"]:
        item["feature"] = item["value"] = HOSTILE
    evaluation["warnings"] = [HOSTILE]
    evaluation["baselines"][HOSTILE] = evaluation["baselines"].pop("majority")
    evaluation["folds"][0]["note"] = HOSTILE
    evaluation["classes"] = by_class([HOSTILE, "b"], np.zeros(1), np.zeros(2), np.eye(2))
    document["classes"] = [HOSTILE]
    evaluation["tuning"]["trials"][0]["params"] = {HOSTILE: HOSTILE}
    document |= {"evaluation": evaluation, "problem": HOSTILE, "rebuild": HOSTILE, "model": HOSTILE}
    document["features"] = [{"name": HOSTILE, "type": HOSTILE, "importance": None, "definition": HOSTILE}]
    document["label"] = HOSTILE
    document["gates"][-1] |= {"by": HOSTILE, "why": HOSTILE}
    document["history"][0] |= {"by": HOSTILE, "why": HOSTILE}
    document["run_of"] |= {"diff": HOSTILE, "params": {HOSTILE: HOSTILE}}
    document["run_of"]["code"] |= {"dirty": "x", "git": HOSTILE}
    assert "<script>alert(1)</script>" in check_safe(card(document))


def test_a_run_page_is_safe_with_hostile_names(app):
    run = app.runs.start(
        "track",
        HOSTILE,
        title=HOSTILE,
        params={HOSTILE: HOSTILE},
        data={HOSTILE: 1},
        code={"git": HOSTILE, "diff": HOSTILE},
    )
    app.runs.log_curves(run.id, {f"{HOSTILE}.{HOSTILE}": [1.0, 2.0]})
    app.runs.attach(run.id, HOSTILE + ".svg", digest=HOSTILE, size=1)
    app.runs.fail(run.id, HOSTILE)
    app.runs.note(run.id, HOSTILE, by=HOSTILE)
    app.runs.tag(run.id, HOSTILE, HOSTILE)
    found = run_document(app.kept, run.id)
    told = check_safe(run_page(found, {HOSTILE + ".svg": SCRIPT}))
    assert "<script>alert(1)</script>" in told
    check_safe(compare_page(compare_document(app.kept, run.id, "late_order/1")))
    assert check_safe(fragment(HOSTILE, sections(EVALUATION))).count("<script>alert(1)") == 1
    json.loads(json.dumps(plain(found), allow_nan=False))


def test_a_card_tells_what_is_in_the_document(document):
    told = check_safe(card(document))
    for words in (
        "late_order version 1",
        "production",
        "Metrics on the test rows",
        "champion (version 1)",
        "95 % intervals of 8 days",
        "by trees",
        "15 % positive",
        "trip.carrier = UA",
        "Learning curve",
        "Calibration",
        "share of gain",
        "one class only",
        "13 trials, seed 0",
        "1 failed, not shown",
        "staging to production",
        "tenfold models rebuild PROJECT.py late_order 1",
        "shop_visits.visits_1d",
        "look whether it is known at prediction time",
    ):
        assert words in told, words
    low, high = (EVALUATION["metrics"]["roc_auc"][end] for end in ("low", "high"))
    assert f"{low:.4g} to {high:.4g}" in told


@pytest.mark.parametrize("part", [*EVALUATION, "everything"])
def test_what_is_not_known_is_left_out(document, part):
    empty = {} if part == "everything" else document["evaluation"] | {part: None}
    if part == "metrics":
        empty = document["evaluation"] | {"metrics": {}, "slices": None, "folds": None}
    if part in ("rows", "baselines", "kind"):
        empty.pop(part)
    check_safe(card(document | {"evaluation": empty}))


def test_metrics_that_could_not_be_computed_are_drawn_as_missing(document):
    evaluation = document["evaluation"]
    nothing = {"value": None, "low": None, "high": None}
    evaluation["metrics"] = dict.fromkeys(evaluation["metrics"], nothing)
    for item in evaluation["slices"]:
        item["metrics"] = dict.fromkeys(item["metrics"], nothing)
    evaluation["baselines"] = {"majority": dict.fromkeys(evaluation["metrics"])}
    evaluation["tuning"]["trials"] = [
        {"number": 0, "params": {}, "values": [], "value": None, "state": "failed"}
    ]
    evaluation["learning_curve"] = {"metric": "loss", "train": [math.nan, 1.0], "test": []}
    evaluation["calibration"] = {"method": None, "before": [], "after": []}
    assert "not known" in check_safe(card(document))


def test_pages_fit_the_budget(app, document):
    document["run_of"]["diff"] = "+<&>" * 200_000
    assert len(card(document).encode()) < 500_000
    assert "more characters" in card(document)
    document["run_of"]["diff"] = ""
    assert len(card(document).encode()) < 300_000
    assert len(fragment("x", sections(document["evaluation"])).encode()) < 100_000
    run = tried(app)
    assert len(app.show(run)._repr_html_().encode()) < 100_000


def test_a_run_is_shown_with_its_curves_its_pictures_and_its_odd_numbers(app, tmp_path):
    shown = app.show(tried(app, seed=7))
    assert repr(shown).startswith(f"run {shown.document['run']} try (done): ")
    assert "last NaN" in repr(shown)
    shown.save(tmp_path / "run.html")
    html = (tmp_path / "run.html").read_text()
    told = check_safe(html)
    assert "by step" in told
    assert "plots/a.svg" in told
    assert 'src="data:image/svg+xml;base64,' in html
    assert "NaN" in told
    found = plain(shown.document)
    assert [point["value"] for point in found["curves"]["loss"]] == [1.0, 0.5, "NaN", "Infinity", 0.25]
    assert found["metrics"]["last"] == "NaN"
    json.loads(json.dumps(found, allow_nan=False))
    notebook = parse(shown._repr_html_())
    assert notebook.get("class") == "tenfold"


def test_a_run_whose_picture_is_lost_is_still_shown(app):
    with app.track("lost") as run:
        run.attach("kept.svg", "<svg/>")
        run.attach("lost.svg", SCRIPT)
    lost = next(item["sha256"] for item in app.show(run).document["files"] if item["name"] == "lost.svg")
    app.blobs.delete(f"run-files/{lost}")
    told = check_safe(app.show(run).page)
    assert f'no blob "run-files/{lost}"' in told
    assert app.show(run).page.count("<img ") == 1


def test_what_a_search_chose_is_among_the_parameters(app):
    run = app.runs.start("train", "tuned", params={"num_leaves": 31, "now": 7_000_123}, data={}, code={})
    app.blobs.put("tuned/files", {"manifest.json": json.dumps({"evaluation": EVALUATION}).encode()})
    app.runs.finish(run.id, metrics={}, artefact="tuned/files")
    found = run_document(app.kept, run.id)
    best = EVALUATION["tuning"]["trials"][EVALUATION["tuning"]["best"]]["params"]
    assert found["params"]["num_leaves (tuned)"] == best["num_leaves"]
    told = check_safe(run_page(found))
    assert "num_leaves (tuned)" in told
    assert "now" not in [cell.text for cell in parse(run_page(found)).iter("th")], (
        "an instant in microseconds tells nobody"
    )


def test_show_takes_names_and_objects(app):
    version = app.registry.get("late_order", 1)
    by_name = app.show("late_order/1")
    assert by_name.page == app.show(version).page
    assert repr(by_name).startswith("late_order version 1 (production) from run r0001")
    run = app.runs.get("r0001")
    assert app.show(run).page == app.show("r0001").page
    both = app.show("late_order/1", run)
    assert repr(both).startswith("late_order/1 and r0001: same rows and labels; ")
    check_safe(both.page)
    with pytest.raises(DefinitionError, match="it was given 3"):
        app.show("r0001", "r0001", "r0001")
    with pytest.raises(NotFound, match='no run "r01"'):
        app.show("r01")
    for name in ("late_order/²", "../x", "late_order\x00/1", "late_order/999999999999999999999999"):
        with pytest.raises(NotFound):
            app.show(name)
    with pytest.raises(NotFound, match=r'no run "\.\./x"'):
        app.show("r0001", "../x")
    with pytest.raises(NotFound, match=r'no version "²" in model "late_order". Known: 1'):
        app.show("r0001", "late_order/²")


def test_a_notebook_draws_runs_and_versions_as_they_are_returned(app):
    with tiny.project.open(app.platform) as other:
        version, run = other.registry.production("late_order"), other.runs.get("r0001")
        for found in (version, other.registry.get("late_order", 1), *other.registry.versions("late_order")):
            assert found._repr_html_() == other.show(found).html
        for found in (run, *other.runs.list(), *other.runs.best("log_loss")):
            assert found._repr_html_() == other.show(found).html
    assert version._repr_html_() is run._repr_html_() is None, "a closed app leaves it at the text"
    assert "drawn" not in repr(version)


def test_a_version_whose_files_are_damaged_is_still_shown(app, tmp_path):
    home = app.platform.home
    number = app.train(tiny.late_order).number
    file = home / "blobs" / f"late_order@{app.registry.get('late_order', number).run_id}" / "model.txt"
    file.write_bytes(file.read_bytes() + b"x")
    document = version_document(app.kept, "late_order", number)
    assert "model.txt has another sha256" in document["problem"]
    assert document["problem"].endswith(f"tenfold models rebuild PROJECT.py late_order {number} --restore")
    assert "Its files cannot be read" in check_safe(card(document))


def test_the_style_of_a_part_reaches_nothing_outside_of_it():
    style = parse(fragment("x", [])).find("style").text
    depth, outside = 0, ""
    for letter in style:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        outside += letter if depth == 0 else ""
    assert depth == 0
    assert all(".tenfold" in selector for selector in outside.split("}") if selector.strip())


def test_a_page_of_nothing_but_an_evaluation_is_well_formed():
    check_safe(page("x", "y", sections(EVALUATION)))


def test_what_is_long_is_cut_or_broken_and_nothing_beside_it_is_pushed_out():
    name = "not known " * 12
    drawn = whiskers([Interval("a" * 90, None, note=name), Interval("b", 0.5)], label="x")
    width = float(ET.fromstring(drawn).get("viewBox").split()[2])
    for item in ET.fromstring(drawn).iter():
        if item.tag.endswith("text") and item.get("text-anchor") is None:
            assert float(item.get("x")) + axes.breadth(item.text) <= width
    assert name.strip() in drawn, "the whole is told when it is pointed at"
    line = svg.lines({"a": [(0, 1.0), (1, 2.0)]}, label="x", y_label=name)
    assert f">{axes.short(name, axes.HALF - 8)}<" in line
    cells = parse(table(["name", "value"], [["n" * 41, "v" * 300], ["short", 1.0]])).iter("div")
    assert [cell.text for cell in cells if cell.get("class") == "far"] == ["n" * 41, "v" * 300]


def test_whoever_listens_to_a_page_can_tell_its_parts_and_columns_apart(app, document):
    run = tried(app)
    app.runs.note(run, "looked at")
    for html in (card(document), app.show(run).page, app.show("late_order/1", run).page):
        root = parse(html)
        named = [item.get("aria-label") for item in root.iter() if item.get("role") == "region"]
        named += [item.find("div/h2").text for item in root.iter("section")]
        assert len(set(named)) == len(named) > 5
        assert all(head.text for table in root.iter("thead") for head in table.iter("th"))
