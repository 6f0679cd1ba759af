"""The page of a run: what was tried, on what, and what came of it; one file that loads nothing."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.ui.card import stage
from tenfold.ui.charts import Node, flow
from tenfold.ui.documents import settings
from tenfold.ui.evaluated import curves, fold_away, moment, sections, shown, uncommitted
from tenfold.ui.markup import Html, join, number, tag
from tenfold.ui.report import Section, Tile, badge, long, numbers, page, table

Document = Mapping[str, Any]
STATUS = {"done": "ok", "failed": "bad", "running": "info"}
PICTURES = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
}
MOST_ROWS = 12
"""Of a longer table only the beginning is open."""
LARGEST = 200_000
"""Bytes of the largest picture that a page holds; of a larger one it only tells the name."""


def run_page(document: Document, pictures: Mapping[str, bytes] | None = None) -> str:
    """Return the page of a run, from `documents.run_document`; `pictures` are files of the run by name."""
    status = badge(document["status"], STATUS.get(document["status"], "none"))
    title = document["title"] or f"{document['kind']} {document['model']}"
    return page(
        f"{document['run']} · {title}",
        _subtitle(document),
        run_sections(document, pictures or {}),
        status=status,
        footer=f"Python {document['environment'].get('python', '')} on {document['environment'].get('platform', '')}",
    )


def run_sections(document: Document, pictures: Mapping[str, bytes]) -> list[Section]:
    """Return everything below the title of a run's page."""
    found = [Section("", numbers(_tiles(document)), wide=True)]
    if document["error"]:
        found.append(Section("Why it failed", tag("pre", document["error"]), wide=True))
    if document["problem"]:
        found.append(Section("Its files cannot be read", tag("p", document["problem"]), wide=True))
    evaluated = sections(document["evaluation"])
    found += evaluated
    if not evaluated and document["metrics"]:
        found.append(Section("Metrics", _pairs(document["metrics"], "metric", "r")))
    found += _curves(document["curves"])
    found.append(Section("Parameters", _pairs(settings(document), "parameter")))
    found.append(Section("Rows and tables", _data(document)))
    found.append(
        Section(
            "Where it leads", flow(_lineage(document), label="Lineage"), "tables, run, versions", wide=True
        )
    )
    if document["files"]:
        found.append(Section("Files", _files(document["files"], pictures), wide=True))
    if document["notes"]:
        rows = [[moment(item["at"]), item["by"], long(item["text"])] for item in document["notes"]]
        found.append(Section("Notes", table(["UTC", "by", "note"], rows, label="Notes"), wide=True))
    found.append(Section("Code and environment", _code(document), wide=True))
    return found


def _subtitle(document: Document) -> str:
    took = "" if document["seconds"] is None else f"took {number(document['seconds'], 3)} s"
    tags = ", ".join(f"{name} {value}" for name, value in document["tags"].items())
    return " · ".join(filter(None, [document["model"], f"started {moment(document['started'])}", took, tags]))


def _tiles(document: Document) -> list[Tile]:
    own = {
        name: value
        for name, value in document["metrics"].items()
        if not _of_rows(name)[0] and name != "fit_seconds"
    }
    tiles: list[Tile] = []
    for name, value in list((own or document["metrics"]).items())[:4]:
        train = document["metrics"].get(f"train.{name}")
        tiles.append(
            (
                name,
                shown(value),
                "" if train is None else f"on the rows it learned from {shown(train)}",
                "none",
            )
        )
    for part, item in document["samples"].items():
        tiles.append(
            (
                f"Rows, {part}",
                number(item.get("rows")),
                f"digest {item['digest']}" if item.get("digest") else "",
                "none",
            )
        )
    return tiles


def _curves(found: Mapping[str, Sequence[Document]]) -> list[Section]:
    """Return a chart per metric, with "train.loss" and "test.loss" in one."""
    grouped: dict[str, dict[str, list[tuple[float, float | None]]]] = {}
    for name, points in found.items():
        part, metric = _of_rows(name)
        line = [(point["step"], point["value"]) for point in points]
        grouped.setdefault(metric, {})[part or metric] = line
    order = {"train": 0, "test": 1}
    return [
        Section(
            metric,
            curves(dict(sorted(parts.items(), key=lambda item: order.get(item[0], 2))), metric),
            "by step",
        )
        for metric, parts in grouped.items()
        if any(len(points) > 1 for points in parts.values())
    ]


def _of_rows(name: str) -> tuple[str, str]:
    """Return which rows a metric is of, and its own name: ("train", "loss") of "train.loss"."""
    part, _, metric = name.partition(".")
    return (part, metric) if part.startswith(("train", "test", "valid", "eval")) else ("", name)


def _pairs(values: Mapping[str, Any], what: str, side: str = "l") -> Html:
    if not values:
        return tag("p", "None were recorded.")
    rows = [[name, shown(value)] for name, value in values.items()]
    if len(rows) <= MOST_ROWS:
        return table([what, "value"], rows, align=f"l{side}", label=f"The {what}s")
    first = table([what, "value"], rows[: MOST_ROWS - 2], align=f"l{side}", label=f"The first {what}s")
    every = table([what, "value"], rows, align=f"l{side}", label=f"Every {what}")
    return join(first, fold_away(f"All {len(rows)}", every))


def _data(document: Document) -> Html:
    parts = []
    if document["samples"]:
        rows = [
            [name, item.get("rows"), item.get("digest") or ""] for name, item in document["samples"].items()
        ]
        parts.append(table(["rows", "number", "digest"], rows, align="lrl", label="Rows"))
    if document["data"]:
        rows = [[name, version] for name, version in document["data"].items()]
        parts.append(table(["table", "version"], rows, align="lr", label="Tables"))
    return join(*parts) if parts else tag("p", "Nothing was recorded of them.")


def _lineage(document: Document) -> list[list[Node]]:
    tables = [Node("table", name, f"version {version}") for name, version in document["data"].items()]
    run = Node(
        "run", document["run"], document["title"] or document["model"], STATUS.get(document["status"], "none")
    )
    made = [
        Node(
            "version",
            f"{document['model']} {item['version']}",
            stage(item["stage"]),
            "ok" if item["stage"] == "production" else "none",
        )
        for item in document["versions"]
    ]
    return [column for column in (tables, [run], made) if column]


def _files(files: Sequence[Document], pictures: Mapping[str, bytes]) -> Html:
    rows = [[item["name"], item["bytes"], item["sha256"]] for item in files]
    shown_pictures = [
        tag("figure", _picture(name, content), tag("figcaption", name))
        for name, content in pictures.items()
        if _is_picture(name, content)
    ]
    return join(table(["file", "bytes", "sha256"], rows, align="lrl", label="Files"), *shown_pictures)


def _is_picture(name: str, content: bytes) -> bool:
    return name.rpartition(".")[2].lower() in PICTURES and len(content) <= LARGEST


def _picture(name: str, content: bytes) -> Html:
    # As a picture and not as markup: a script in a stored SVG does not run.
    kind = PICTURES[name.rpartition(".")[2].lower()]
    return tag("img", src=f"data:{kind};base64,{base64.b64encode(content).decode()}", alt=name)


def _code(document: Document) -> Html:
    code = {name: value for name, value in document["code"].items() if name != "dirty"}
    parts = [_pairs(code, "code")]
    if document["diff"]:
        parts.append(tag("p", badge("not committed", "warn"), " It ran with changes that are in no commit."))
        parts.append(uncommitted(document["diff"]))
    libraries = document["environment"].get("libraries", {})
    rows = [[name, version] for name, version in libraries.items()]
    parts.append(
        fold_away(
            f"{len(rows)} libraries", table(["library", "version"], rows, align="ll", label="Libraries")
        )
    )
    return join(*parts)
