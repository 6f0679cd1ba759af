"""What else is known of a run: its metrics over time, its files, its notes and tags, and the code that was not committed."""

import math
from dataclasses import dataclass

from tenfold.sources.database import Database
from tenfold.tracking.runs import Run

CURVES = "SELECT name, step, value, at FROM run_metric WHERE run = (SELECT seq FROM run WHERE id = ?) ORDER BY name, step"
FILES = "SELECT name, digest, size, at FROM run_artefact WHERE run = (SELECT seq FROM run WHERE id = ?) ORDER BY name"
NOTES = 'SELECT at, "by", text FROM run_note WHERE run = (SELECT seq FROM run WHERE id = ?) ORDER BY seq'
TAGS = "SELECT name, value FROM run_tag WHERE run = (SELECT seq FROM run WHERE id = ?) ORDER BY name"
DIFF = "SELECT diff FROM code_diff WHERE digest = ?"


@dataclass(frozen=True, slots=True)
class Point:
    """A metric at a step; `at` is in microseconds since 1970 UTC."""

    step: int
    value: float
    at: int


@dataclass(frozen=True, slots=True)
class File:
    """A file of a run: its name, the sha256 of its bytes and how many there are."""

    name: str
    digest: str
    size: int
    at: int


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody wrote about a run."""

    at: int
    by: str
    text: str


@dataclass(frozen=True, slots=True)
class Details:
    """Everything about a run that `Run` itself does not hold."""

    curves: dict[str, list[Point]]
    files: list[File]
    notes: list[Note]
    tags: dict[str, str]
    diff: str


def details(database: Database, run: Run) -> Details:
    """Return what else is known of a run."""
    curves: dict[str, list[Point]] = {}
    for row in database.query(CURVES, run.id):
        value = math.nan if row["value"] is None else row["value"]
        curves.setdefault(row["name"], []).append(Point(row["step"], value, row["at"]))
    diffs = database.query(DIFF, run.code.get("dirty", ""))
    return Details(
        curves,
        [File(*row) for row in database.query(FILES, run.id)],
        [Note(*row) for row in database.query(NOTES, run.id)],
        {row["name"]: row["value"] for row in database.query(TAGS, run.id)},
        diffs[0]["diff"] if diffs else "",
    )
