"""Every benchmark runs at a tiny size, checks itself against its peer and writes its figures."""

import json

import pytest

from bench import harness
from bench.__main__ import NAMES, main
from bench.harness import Bench, Entry, check_equal, keep
from bench.page import BEGIN, END, HEAD
from bench.page import main as write_page
from bench.table import figure

FIGURES = {"name", "value", "unit", "peer", "peer_value", "ratio", "rows", "goal", "note"}


LONG = {"training", "serve", "batch", "tracking", "fresh", "lookup", "worker"}
"""Those that take long however few the rows: they start processes or servers. `make test-all` runs them."""


@pytest.mark.filterwarnings("ignore::UserWarning")  # of the peers, as DuckDB's of a copy
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in NAMES]
)
def test_runs_small(name, tmp_path, capsys):
    out = tmp_path / "bench.json"
    here = [] if name in LONG else ["--here"]
    main([name, "--rows", "100", "--no-feast", "--no-mlflow", "--no-peers", *here, "--out", str(out)])
    printed = capsys.readouterr().out
    held = json.loads(out.read_text())
    assert held
    for item in held:
        assert set(item) == FIGURES
        assert item["name"].partition("/")[0] == name
        assert item["value"] > 0
        assert (item["ratio"] is None) == (item["peer_value"] is None)
        assert item["name"] in printed


def test_keeps_what_others_measured(tmp_path):
    out = tmp_path / "bench.json"
    keep(out, [Entry("one", 1.0, "s", 10), Entry("two/memory", 2.0, "GB", 10)], {"one", "two"})
    keep(out, [Entry("two", 3.0, "s", 10)], {"two"})
    assert [(item["name"], item["value"]) for item in json.loads(out.read_text())] == [
        ("one", 1.0),
        ("two", 3.0),
    ]


def test_above_one_is_better():
    assert Entry("x", 2.0, "s", 1, "peer", 6.0).ratio == 3.0
    assert Entry("x", 6.0, "rows/s", 1, "peer", 2.0).ratio == 3.0
    assert Entry("x", 6.0, "rows/s", 1, "peer", None).ratio is None
    assert Entry("x", 6.0, "rows/s", 1).ratio is None


def test_other_work_is_not_compared():
    check_equal("x", {"check": {"a": 1.0}}, {"check": {"a": 1.0 + 1e-12}}, within=1e-9)
    with pytest.raises(ValueError, match=r"x: a is 1 here and 2 in the peer: not the same work"):
        check_equal("x", {"check": {"a": 1}}, {"check": {"a": 2}}, within=2.0)
    with pytest.raises(ValueError, match="not the same features"):
        check_equal("x", {"check": {"a": 1}}, {"check": {"b": 1}})


def test_what_takes_too_long_is_stopped():
    bench = Bench(rows=100, say=lambda _: None)
    found = bench.run("bench.windows:ours", limit=0.01, rows=100)
    assert found == {"seconds": None, "failed": "stopped after 0 s"}
    assert harness.MEANT > 100


def test_a_failure_says_which_and_why():
    bench = Bench(rows=100, say=lambda _: None)
    with pytest.raises(RuntimeError, match=r"bench.windows:ours\(nothing=1\) failed"):
        bench.run("bench.windows:ours", nothing=1)


def test_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["window"])
    assert "no benchmark window; there are windows, spine" in capsys.readouterr().err


def test_figures_have_three_digits():
    assert [figure(value) for value in (4_412_345.6, 0.01234, 12.3456, 999.6, None)] == [
        "4.41 M",
        "0.0123",
        "12.3",
        "1,000",
        "-",
    ]


def test_page_holds_the_figures(tmp_path):
    figures, page = tmp_path / "bench.json", tmp_path / "performance.md"
    page.write_text(f"before\n{BEGIN}\n{HEAD}| asof/memory | old |\n| hot/read | kept |\n\n{END}after\n")
    keep(figures, [Entry("asof", 1.5, "s", 1_000_000, "DuckDB", 3.0, "0.77x", "no ties")], {"asof"})
    for _ in range(2):
        write_page(figures, page)
        told = page.read_text().splitlines()
        assert told[0] == "before"
        assert told[-1] == "after"
        assert "| asof | 1 M | 1.5 s | 0.77x | DuckDB | 3 | **2x** | no ties |" in told
        assert "| asof/memory | old |" not in told
        assert told.count("| hot/read | kept |") == 1
