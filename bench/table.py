"""The figures as a table for a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from bench.harness import Entry


def show(entries: Sequence[Entry], machine: str, console: Console) -> None:
    """Print one row per figure, and what must be known about some below."""
    console.print(table(entries, machine))
    for number, note in enumerate(_notes(entries), start=1):
        console.print(f"  [dim]{number}[/dim] {note}", highlight=False)


def _notes(entries: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(entry.note for entry in entries if entry.note))


def table(entries: Sequence[Entry], machine: str) -> Table:
    """Return one row per figure; a ratio above 1 means that ours is better."""
    caption = "a ratio above 1 means ours is better"
    title = f"tenfold against its peers, {machine}"
    shown = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("benchmark", no_wrap=True)
    for title in ("rows", "value", "", "goal", "peer", "its value", "ratio"):
        shown.add_column(title, justify="left" if title in ("", "goal", "peer") else "right")
    notes = _notes(entries)
    for entry in entries:
        mark = f" [dim]{notes.index(entry.note) + 1}[/dim]" if entry.note else ""
        shown.add_row(
            entry.name + mark,
            rows_text(entry.rows),
            figure(entry.value),
            entry.unit,
            entry.goal,
            entry.peer,
            "" if entry.peer_value is None else figure(entry.peer_value),
            _colored(entry.ratio),
        )
    return shown


def rows_text(rows: int) -> str:
    """Return a number of rows in thousands or millions.

    Examples
    --------
    >>> rows_text(10_000_000), rows_text(20_000), rows_text(1_234)
    ('10 M', '20 k', '1,234')
    """
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if rows >= unit and rows % unit == 0:
            return f"{rows // unit} {name}"
    return f"{rows:,}"


def _colored(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"[{'green' if ratio >= 1 else 'red'}]{ratio_text(ratio)}[/]"


def ratio_text(ratio: float) -> str:
    """Return a ratio; of a small one, one digit.

    Examples
    --------
    >>> ratio_text(12.345), ratio_text(0.012345)
    ('12.3x', '0.01x')
    """
    return f"{ratio:.1g}x" if ratio < 0.1 else f"{figure(ratio)}x"


def figure(value: float | None) -> str:
    """Return a number with three digits that count.

    Examples
    --------
    >>> figure(4_412_345.6), figure(61_449), figure(2_041), figure(0.01234), figure(None)
    ('4.41 M', '61.4 k', '2,040', '0.0123', '-')
    """
    if value is None:
        return "-"
    for unit, name, least in ((1e6, " M", 999_500), (1e3, " k", 9_995)):
        if abs(value) >= least:
            return f"{value / unit:.3g}{name}"
    return f"{round(value, -1):,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
