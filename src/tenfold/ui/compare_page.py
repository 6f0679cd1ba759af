"""The page of two runs side by side: are the rows and labels the same, then only what changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.ui.evaluated import moment, shown
from tenfold.ui.markup import Html, join, number, tag
from tenfold.ui.report import Section, badge, page, table

Document = Mapping[str, Any]
SAME = {
    True: ("same rows and labels", "ok"),
    False: ("not the same rows", "bad"),
    None: ("not known whether the same rows", "warn"),
}
PARTS = {True: ("the same", "ok"), False: ("not the same", "bad"), None: ("not known", "warn")}
CHANGES = (("Parameters", "params"), ("Tables", "data"), ("Code", "code"), ("Environment", "environment"))
"""What may have changed, and where a document has it."""


def compare_page(document: Document) -> str:
    """Return the page of two runs, from `documents.compare_document`."""
    title = f"{document['a']} and {document['b']}"
    return page(
        title, _subtitle(document), compare_sections(document), status=badge(*SAME[document["rows"]["same"]])
    )


def compare_sections(document: Document) -> list[Section]:
    """Return everything below the title: the rows first, then what changed."""
    a, b = document["a"], document["b"]
    found = [Section("Rows and labels", _rows(document), _warning(document), wide=True)]
    if document["metrics"]:
        found.append(Section("Metrics", _metrics(document), "only those that differ", wide=True))
    if document["slices"]:
        found.append(
            Section("Slices that moved", _slices(document), "their 95 % intervals lie apart", wide=True)
        )
    for name, part in CHANGES:
        if document[part]:
            rows = [[item["name"], shown(item["a"]), shown(item["b"])] for item in document[part]]
            found.append(Section(name, table(["name", a, b], rows, align="lll", label=name), wide=True))
    features = _features(document["features"])
    if features:
        found.append(Section("Features", features))
    same = [name.lower() for name, part in CHANGES if not document[part]] + ([] if features else ["features"])
    if same:
        found.append(Section("Not changed", tag("p", ", ".join(same)), wide=True))
    return found


def _subtitle(document: Document) -> str:
    runs = [document["a_run"], document["b_run"]]
    return " · ".join(
        f"{run['run']}: {run['title'] or run['model']}, {moment(run['started'])}" for run in runs
    )


def _warning(document: Document) -> str:
    return "" if document["rows"]["same"] else "metrics on other rows say little about which is better"


def _rows(document: Document) -> Html:
    rows = [
        [name, badge(*PARTS[part["same"]]), part["why"], number(part["a"]), number(part["b"])]
        for name, part in document["rows"].items()
        if name != "same"
    ]
    return table(
        ["rows", "verdict", "by", document["a"], document["b"]], rows, align="lllrr", label="Rows and labels"
    )


def _metrics(document: Document) -> Html:
    rows = [
        [item["name"], shown(item["a"]), shown(item["b"]), _change(item), _verdict(item)]
        for item in document["metrics"]
    ]
    return table(
        ["metric", document["a"], document["b"], "difference", "better"], rows, align="lrrrl", label="Metrics"
    )


def _slices(document: Document) -> Html:
    rows = [
        [
            f"{item['feature']} = {item['value']}",
            item["metric"],
            shown(item["a"]),
            shown(item["b"]),
            _change(item),
            _verdict(item),
        ]
        for item in document["slices"]
    ]
    columns = ["slice", "metric", document["a"], document["b"], "difference", "better"]
    return table(columns, rows, align="llrrrl", label="Slices that moved")


def _change(item: Document) -> str:
    change = item["difference"]
    return number(None) if change is None else f"{'+' if change > 0 else ''}{number(change, 3)}"


def _verdict(item: Document) -> Html | str:
    if item["better"] is None:
        return "the rows it learned from" if item["name"].startswith("train.") else "not known"
    return join(badge(item["better"], "none" if item["apart"] is False else "ok"), chance(item))


def chance(item: Document) -> str:
    """Return what to add to which of two is better: those whose intervals overlap may differ by chance alone."""
    return ", within the intervals" if item["better"] and item["apart"] is False else ""


def _features(features: Mapping[str, Sequence[str]]) -> Html | None:
    told = [tag("p", tag("b", f"{what}: "), ", ".join(names)) for what, names in features.items() if names]
    return join(*told) if told else None
