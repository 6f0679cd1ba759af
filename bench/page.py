"""Writes the figures of build/bench.json into docs/performance.md: `python -m bench.page`."""

import json
from pathlib import Path
from typing import Any

from bench.harness import ROOT
from bench.table import figure, ratio_text, rows_text

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- figures: python -m bench.page -->\n", "<!-- end of figures -->\n"
HEAD = "| benchmark | rows | value | goal | peer | its value | ratio | |\n|---|--:|--:|---|---|--:|--:|---|\n"


def lines(held: list[dict[str, Any]]) -> str:
    """Return figures as the lines of a Markdown table.

    Examples
    --------
    >>> entry = {
    ...     "name": "asof",
    ...     "rows": 1_000_000,
    ...     "value": 1.5,
    ...     "unit": "s",
    ...     "goal": "0.77x",
    ...     "peer": "DuckDB",
    ... }
    >>> print(lines([entry | {"peer_value": 3.0, "ratio": 2.0, "note": ""}]).splitlines()[-1])
    | asof | 1 M | 1.5 s | 0.77x | DuckDB | 3 | **2x** |  |
    """
    told = []
    for item in held:
        ratio = "" if item["ratio"] is None else f"**{ratio_text(item['ratio'])}**"
        other = "" if item["peer_value"] is None else figure(item["peer_value"])
        value = f"{figure(item['value'])} {item['unit']}"
        cells = [
            item["name"],
            rows_text(item["rows"]),
            value,
            item["goal"],
            item["peer"],
            other,
            ratio,
            item["note"],
        ]
        told.append("| " + " | ".join(cells) + " |\n")
    return HEAD + "".join(told)


def family(line: str) -> str:
    """Return the benchmark that a line of the table is of.

    Examples
    --------
    >>> family("| asof/memory | 1 M | 0.6 GB |  |  |  |  |  |")
    'asof'
    """
    return line.removeprefix("| ").partition(" ")[0].partition("/")[0]


def main(figures: Path = ROOT / "build" / "bench.json", page: Path = PAGE) -> None:
    """Replace the lines of the benchmarks that were measured; those of others stay."""
    before, _, rest = page.read_text().partition(BEGIN)
    table, _, after = rest.partition(END)
    new = lines(json.loads(figures.read_text())).removeprefix(HEAD).splitlines(keepends=True)
    old = table.strip("\n").removeprefix(HEAD).splitlines(keepends=True)
    measured = {family(line) for line in new}
    kept = [line.rstrip("\n") + "\n" for line in old if family(line) not in measured]
    page.write_text(before + BEGIN + "\n" + HEAD + "".join([*new, *kept]) + "\n" + END + after)


if __name__ == "__main__":
    main()
