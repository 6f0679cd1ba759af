"""Charts stand where their numbers are."""

import re
import xml.etree.ElementTree as ET

import pytest

from tenfold.ui import axes, svg
from tenfold.ui.charts import Interval, Node, flow, trials, whiskers


def numbers_of(svg, tag, *keys):
    return [
        tuple(float(item.get(key)) for key in keys)
        for item in ET.fromstring(svg).iter()
        if item.tag.endswith(tag) and all(item.get(key) for key in keys)
    ]


def test_whiskers_stand_where_their_numbers_are():
    rows = [Interval("a", 0.5, 0.25, 0.75), Interval("b", 0.75, 0.5, 1.0), Interval("c", None)]
    drawn = whiskers(rows, label="x", reference=(0.5, "all"))
    (ax, ay), (bx, by) = numbers_of(drawn, "circle", "cx", "cy")
    assert by - ay == 24
    lines = [line for line in numbers_of(drawn, "line", "x1", "x2", "y1", "y2") if line[2] == line[3]]
    assert [line[2] for line in lines] == [ay, by]
    (low, high), (low_b, high_b) = (line[:2] for line in lines)
    assert low + high == pytest.approx(2 * ax, abs=0.2)
    assert (low_b, high_b) == pytest.approx((ax, 2 * bx - ax), abs=0.2)
    assert "not known" in drawn


def test_a_slice_of_few_rows_does_not_widen_the_axis():
    sure = [Interval("a", 0.7, 0.69, 0.71), Interval("b", 0.72, 0.71, 0.73)]
    faint = Interval("c", 0.1, 0.0, 0.9, faint=True)
    alone, drawn = whiskers(sure, label="x"), whiskers([*sure, faint], label="x")
    ticks = [
        [
            t.text
            for t in ET.fromstring(svg).iter()
            if t.tag.endswith("text") and t.get("text-anchor") == "middle"
        ]
        for svg in (alone, drawn)
    ]
    assert ticks[0] == ticks[1]
    assert "c 0.1 (0 to 0.9)" in ET.fromstring(drawn).get("aria-label")


def test_trials_show_the_best_so_far():
    tried_ = [
        {"number": n, "params": {"a": n}, "values": [v], "value": v, "state": state}
        for n, (v, state) in enumerate([(0.5, "done"), (0.9, "pruned"), (0.4, "done"), (0.7, "done")])
    ] + [{"number": 4, "params": {}, "values": [], "value": None, "state": "failed"}]
    drawn = trials(tried_, 3, label="x", metric="auc", greater=True)
    root = ET.fromstring(drawn)
    titles = [item.text for item in root.iter() if item.tag.endswith("title")]
    assert [title for title in titles if title.startswith("trial ")] == [
        "trial 0: auc 0.5; a 0",
        "trial 1: auc 0.9; a 1",
        "trial 2: auc 0.4; a 2",
        "trial 3: auc 0.7; a 3",
    ]
    (line,) = [
        item.get("d")
        for item in root.iter()
        if item.tag.endswith("path") and item.findtext("{*}title") == "best so far"
    ]
    heights = [float(point.split()[1]) for point in re.split("[ML]", line)[1:]]
    assert heights == sorted(heights, reverse=True), "higher is further up, and the best never falls"
    assert "the best is number 3" in root.get("aria-label")


def test_a_flow_joins_every_box_to_those_of_the_next_column():
    drawn = flow(
        [[Node("table", "a"), Node("table", "b")], [Node("run", "r1")], [Node("version", "1")]], label="x"
    )
    links = [item for item in ET.fromstring(drawn).iter() if item.tag.endswith("path")]
    assert len(links) == 3
    assert "table a; table b; run r1; version 1" in ET.fromstring(drawn).get("aria-label")
    assert ET.fromstring(flow([], label="x")) is not None


def test_charts_are_scrolled_before_their_texts_are_too_small_to_read():
    for width, least in ((axes.HALF, 440), (axes.WIDE, 860), (200, 200)):
        drawn = svg.bars({"a": 1.0}, label="x", width=width)
        assert f"min-width:{least}px" in drawn
        assert least / width * axes.FONT >= 9
