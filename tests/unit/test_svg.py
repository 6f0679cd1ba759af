import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.errors import NotFound
from tenfold.ui import axes, markup, svg, theme

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</svg><script>alert('x')</script>\"&\x00\x1b[31m\u202egpj\ud800 onload=\"x"
NAN = float("nan")


def charts(name):
    """Every chart, with the name wherever a name can be."""
    curve = [{"predicted": 0.1, "happened": 0.2, "count": 5}, {"predicted": 0.5, "happened": 0.4, "count": 5}]
    return {
        "lines": svg.lines(
            {
                name: [(0, 0.7), (1, None), (2, 0.8), (3, NAN), (4, 0.75), (5, 0.76)],
                name + "2": [(0, 0.7), (5, 0.71)],
            },
            label=name,
            x_labels=[(0, name), (5, "end")],
            y_label=name,
            markers=[(2, name), (2.1, name)],
            levels=[(0.74, name)],
        ),
        "bars": svg.bars({name: 3.0, "b": -1.0, "c": NAN}, label=name, notes={"b": name}),
        "heatmap": svg.heatmap(
            [name, "b"],
            [name, "y", "z"],
            [[0.05, None, 0.6], [0.15, NAN, 0.35]],
            label=name,
            weights=[2, 1],
            notes=[name, "x"],
            markers=[(1, name)],
        ),
        "calibration": svg.calibration({name: curve, "none": []}, label=name),
    }


@pytest.mark.parametrize("chart", charts("x"))
def test_hostile_names_stay_text(chart):
    root = ET.fromstring(charts(HOSTILE)[chart])
    assert root.tag == f"{SVG}svg"
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "g", "title", "text", "path", "rect", "line", "circle")
    }
    assert not [
        key for element in root.iter() for key in element.attrib if key.startswith("on") or "href" in key
    ]
    assert "<script>" in "".join(root.itertext())


@given(st.text(max_size=40))
def test_any_name_makes_a_well_formed_chart(name):
    for drawn in charts(name).values():
        ET.fromstring(drawn)


@pytest.mark.parametrize("chart", charts("x"))
def test_each_chart_has_words_and_asks_for_nothing(chart):
    drawn = charts("auc")[chart]
    root = ET.fromstring(drawn)
    assert root.get("role") == "img"
    assert root.get("aria-label").startswith("auc")
    assert root[0].tag == f"{SVG}title"
    assert "http" not in drawn.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "nan" not in drawn.lower()
    assert "inf" not in drawn.lower().replace("info", "")


@pytest.mark.parametrize(
    "drawn",
    [
        svg.lines({}, label="nothing"),
        svg.lines({"a": []}, label="nothing", markers=[(1, "note")]),
        svg.lines({"a": [(1, 5.0)]}, label="one"),
        svg.lines({"a": [(1, NAN), (2, math.inf)]}, label="no number"),
        svg.bars({}, label="nothing"),
        svg.bars({"a": 0.0}, label="zero"),
        svg.heatmap([], [], [], label="nothing"),
        svg.calibration({}, label="nothing"),
    ],
)
def test_nothing_to_draw_is_drawn(drawn):
    root = ET.fromstring(drawn)
    assert float(root.get("viewBox").split()[3]) > 0
    assert "nan" not in drawn


def test_a_gap_breaks_the_line_and_a_lonely_point_is_a_dot():
    root = ET.fromstring(
        svg.lines({"a": [(0, 1.0), (1, 2.0), (2, None), (3, 1.5), (4, None), (5, 1.0), (6, 2.0)]}, label="a")
    )
    (path,) = root.findall(f"{SVG}path")
    assert path.get("d").count("M") == 2
    assert len(root.findall(f"{SVG}circle")) == 1


def test_higher_values_are_drawn_higher_and_later_ones_further_right():
    root = ET.fromstring(svg.lines({"a": [(0, 1.0), (10, 3.0)]}, label="a"))
    start, end = (
        tuple(map(float, point.split())) for point in root.find(f"{SVG}path").get("d")[1:].split("L")
    )
    assert end[0] > start[0]
    assert end[1] < start[1]


def test_series_and_cells_differ_by_more_than_color():
    root = ET.fromstring(svg.lines({name: [(0, 1), (1, 2)] for name in "abcdef"}, label="a"))
    assert len({path.get("stroke-dasharray") for path in root.findall(f"{SVG}path")}) == 6
    cells = ET.fromstring(svg.heatmap(["r"], list("abcdef"), [[0, 0.15, 0.25, 0.35, 0.9, None]], label="h"))
    groups = [group for group in cells.findall(f"{SVG}g") if group.find(f"{SVG}rect/{SVG}title") is not None]
    assert [dot.get("r") for group in groups for dot in group.findall(f"{SVG}circle")] == ["1.5", "3"]
    (missing,) = [group for group in groups if group.get("stroke-dasharray")]
    assert "".join(missing.itertext()) == "r, f: no data"


def test_each_level_starts_its_own_step():
    cells = ET.fromstring(
        svg.heatmap(["r"], list("abcdef"), [[0.99, 1, 2, 3, 4, 99]], label="h", levels=(1, 2, 3, 4))
    )
    groups = {group.get("fill"): "".join(group.itertext()) for group in cells.findall(f"{SVG}g")}
    shown = [groups[theme.color(f"heat-{step}")] for step in range(5)]
    assert shown == ["r, a: 0.99", "r, b: 1", "r, c: 2", "r, d: 3", "r, e: 4r, f: 99"]


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="zip"):
        svg.heatmap(["r"], ["a", "b"], [[1.0]], label="h")


@pytest.mark.parametrize(("low", "high"), [(0.73121, 0.73124), (1e8, 1e8 + 0.2), (-3.0, 40_000.0)])
def test_tick_texts_tell_ticks_apart(low, high):
    texts = axes.tick_texts(axes.ticks(low, high))
    assert len(set(texts)) == len(texts)


def test_bars_are_as_long_as_their_values():
    root = ET.fromstring(svg.bars({"a": 4.0, "b": -2.0, "c": 0.0}, label="b"))
    a, b, c = root.findall(f"{SVG}rect")
    assert float(a.get("width")) == pytest.approx(2 * float(b.get("width")), abs=0.2)
    assert float(b.get("x")) + float(b.get("width")) == pytest.approx(float(a.get("x")), abs=0.2)
    assert float(c.get("width")) == 1


def test_a_large_heat_map_fits_the_budget():
    names = [f"origin_delay_mean_{i}h" for i in range(30)]
    drawn = svg.heatmap(names, [f"{i:02d} Nov" for i in range(60)], [[0.123] * 60] * 30, label="drift")
    assert len(drawn) < 250_000


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_few_and_cover_the_range(low, spread):
    at = axes.ticks(low, low + spread)
    slack = 1e-6 * max(1.0, abs(low), spread)
    assert at[0] <= low + slack
    assert at[-1] >= low + spread - slack
    assert at == sorted(set(at))
    assert 2 <= len(at) <= 8


def test_notes_that_would_overlap_go_to_their_own_lines():
    far, near = [(0, "v1"), (500, "v2")], [(100, "v1 promoted"), (104, "v2 promoted"), (108, "v3 promoted")]
    assert axes.marker_height(near, 0, 540) == axes.marker_height(far, 0, 540) + 2 * axes.MARKER_ROW
    assert axes.marker_height([], 0, 540) == 0


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_text_and_lines_have_enough_contrast(palette):
    assert palette.keys() == theme.LIGHT.keys()
    for name in ("text", "muted", "ok", "warn", "bad", "info", *(f"series-{i}" for i in range(6))):
        for ground in ("card", "page"):
            assert contrast(palette[name], palette[ground]) >= 4.5, (name, ground)
    for state in markup.STATES:
        assert contrast(palette[state], palette[f"{state}-soft"]) >= 4.5, state
    for step in (3, 4):
        # the dot only repeats what the color says
        assert contrast(palette["heat-dot"], palette[f"heat-{step}"]) >= 2.3, step


def test_an_unknown_state_says_which_there_are():
    with pytest.raises(NotFound, match='Did you mean "warn"'):
        markup.glyph("warm")
