import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from tenfold.core.errors import NotFound
from tenfold.ui import svg
from tenfold.ui.markup import Html, number
from tenfold.ui.report import Section, badge, numbers, page, table

HOSTILE = "</td></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x00"


def parse(html):
    """Return the document; the page is written so strictly that it is XML as well."""
    return ET.fromstring(html.removeprefix("<!doctype html>"))


def full_page(name="delay_15"):
    heat = svg.heatmap(
        [f"{name}_{i}" for i in range(30)],
        [f"{i:02d} Nov" for i in range(42)],
        [[0.2] * 42] * 30,
        label=name,
        notes=["0.20 drifting"] * 30,
    )
    return page(
        name,
        name,
        [
            Section("", numbers([(name, 0.731, name, "bad"), ("rows", 1204, "", "none")]), wide=True),
            Section(name, heat, note=name, wide=True),
            Section("plain", name),
            Section(
                "table",
                table(
                    [name, "now", "30 days"], [[name, 1.5, "up"], ["b", None, badge(name, "ok")]], label=name
                ),
            ),
        ],
        status=badge(name, "warn"),
        footer=name,
    )


def test_the_page_is_well_formed_and_hostile_names_stay_text():
    root = parse(full_page(HOSTILE))
    tags = {element.tag.split("}")[-1] for element in root.iter()}
    assert not tags & {"script", "img", "iframe", "object", "form", "a"}
    assert not [key for element in root.iter() for key in element.attrib if key.startswith("on")]
    assert "<script>alert(1)</script>" in "".join(root.itertext())


def test_the_page_loads_nothing_and_forbids_it():
    html = full_page()
    assert "http://" not in html.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "https://" not in html
    assert not re.findall(r"\b(src|srcset|action|poster|background)=|url\(|@import", html)
    assert re.findall(r'href="([^"]*)"', html) == ["data:,"]
    policy = parse(html).find("head/meta[@http-equiv='Content-Security-Policy']").get("content")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_the_page_fits_the_budget():
    assert len(full_page().encode()) < 300_000


def test_headings_name_their_sections_and_what_scrolls_can_be_reached_by_keyboard():
    root = parse(full_page())
    assert root.get("lang") == "en"
    assert len(root.findall(".//h1")) == 1
    for section in root.findall(".//section"):
        assert section.find("div/h2").get("id") == section.get("aria-labelledby")
    scrolling = root.findall(".//div[@class='scroll']")
    assert len(scrolling) == 2
    assert all(region.get("tabindex") == "0" and region.get("aria-label") for region in scrolling)


def test_both_themes_and_small_screens_are_in_the_style_sheet():
    style = parse(full_page()).find("head/style").text
    assert "prefers-color-scheme:dark" in style
    assert "max-width:30rem" in style
    used = set(re.findall(r"var\(--([a-z0-9-]+)", full_page()))
    assert used <= set(re.findall(r"--([a-z0-9-]+):", style))


def test_markup_is_kept_and_text_is_not():
    body = page("t", "s", [Section("a", Html("<p>x</p>")), Section("b", "<p>y</p>")])
    assert "<p>x</p>" in body
    assert "&lt;p&gt;y&lt;/p&gt;" in body


def test_states_carry_a_glyph_and_a_word():
    assert "✕" in badge("1 failing", "bad")
    tile = numbers([("AUC", 0.7, "lower than training", "bad")])
    assert "✕" in tile
    assert '<span class="sr"> bad:</span>' in tile
    assert "✓" not in numbers([("AUC", 0.7, "", "none")])
    with pytest.raises(NotFound, match="no state"):
        badge("x", "fine")


def test_table_cells_are_numbers_text_or_markup_and_numbers_stand_right():
    root = ET.fromstring(
        table(["name", "n", "share", "mixed"], [["<a>", 1204, 0.5, "x"], ["b", np.int64(7), None, 2]])
    )
    first, second = root.findall("table/tbody/tr")
    assert first[0].tag == "th"
    assert first[0].text == "<a>"
    assert [cell.get("class") for cell in first] == [None, "r", "r", None]
    assert [cell.text for cell in second] == ["b", "7", number(None), "2"]
    centered = ET.fromstring(table(["a", "b"], [["x", 1]], align="lc"))
    assert [cell.get("class") for cell in centered.find("table/thead/tr")] == [None, "c"]
    assert ET.fromstring(table(["a"], [])).find("table/tbody") is not None
    with pytest.raises(ValueError, match="zip"):
        table(["a", "b"], [["too short"]], align="ll")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.00012345, "0.0001234"),
        (12.5, "12.5"),
        (1234.6, "1\u202f235"),
        (np.float64(0.5), "0.5"),
        (np.int64(-1000), "\u22121\u202f000"),
        (float("inf"), "+inf"),
        (True, "True"),
        ("text", "text"),
    ],
)
def test_numbers_are_written_for_people(value, shown):
    assert number(value) == shown
