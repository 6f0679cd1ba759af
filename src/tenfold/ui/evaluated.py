"""The parts of a page that show an evaluation (`Manifest.evaluation`); a part of which nothing is known is left out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.core.times import iso
from tenfold.training.metrics import METRICS
from tenfold.ui import svg
from tenfold.ui.axes import WIDE
from tenfold.ui.charts import Interval, trials, whiskers
from tenfold.ui.documents import gain
from tenfold.ui.markup import Html, join, number, tag
from tenfold.ui.report import Section, badge, scrolled, table

Document = Mapping[str, Any]
CLASSES = ["class", "rows learned from", "rows tested on", "recall", "precision", "taken for instead"]
MOST_DIFF = 60_000
MOST_SLICES, MOST_FEATURES, MOST_TRIALS, MOST_CLASSES = 30, 16, 10, 30


def shown(value: object) -> str:
    """Return a value for people; one that is not finite as what it is, and what is missing as a dash.

    Examples
    --------
    >>> shown(float("nan")), shown(0.25), shown([1, 2]), shown("NaN")
    ('NaN', '0.25', '[1, 2]', 'NaN')
    """
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, (list, dict)):
        return str(value)
    return number(value)


def moment(text: str | int | None) -> str:
    """Return an instant, ISO text or microseconds, to the minute."""
    told = iso(text) if isinstance(text, int) else text or ""
    return told[:16].replace("T", " ")


def day(us: int) -> str:
    """Return the day of an instant."""
    return iso(us)[:10]


def main_metric(evaluation: Document) -> str:
    """Return the metric that versions are compared by: the first one."""
    return next(iter(evaluation.get("metrics") or {}), "")


def fold_away(summary: str, body: Html) -> Html:
    """Return something that is shown when its summary is clicked."""
    return tag("details", tag("summary", summary), body)


def uncommitted(diff: str) -> Html:
    """Return code that was not committed, the beginning of it when there is much; nothing when there is none."""
    cut = f"\n... and {len(diff) - MOST_DIFF:,} more characters" if len(diff) > MOST_DIFF else ""
    return fold_away("What was not committed", tag("pre", diff[:MOST_DIFF], cut)) if diff else join()


def sections(evaluation: Document) -> list[Section]:
    """Return the sections of an evaluation, what decides first."""
    found = [
        warnings(evaluation),
        metrics(evaluation),
        classes(evaluation),
        slices(evaluation),
        learning_curve(evaluation),
        calibration(evaluation),
        importance(evaluation),
        shap(evaluation),
        folds(evaluation),
        tuning(evaluation),
    ]
    return [section for section in found if section is not None]


def warnings(evaluation: Document) -> Section | None:
    """Return what to look at before trusting the numbers."""
    told = evaluation.get("warnings") or []
    if not told:
        return None
    rows = [tag("li", badge("look", "warn"), " ", words) for words in told]
    return Section("To look at first", tag("ul", *rows, class_="plain"), wide=True)


def metrics(evaluation: Document) -> Section | None:
    """Return every metric with its interval, beside what is simple and beside the champion."""
    found = evaluation.get("metrics") or {}
    if not found:
        return None
    baselines = evaluation.get("baselines") or {}
    rows = [
        [name, tag("b", number(item["value"])), _ends(item)]
        + [_against(name, item["value"], values.get(name)) for values in baselines.values()]
        for name, item in found.items()
    ]
    columns = ["metric", "this version", "95 % interval", *baselines]
    align = "lrr" + "r" * len(baselines)
    note = "; ".join(
        filter(None, [_drawn(evaluation), "✓ where this version is better" if baselines else ""])
    )
    return Section(
        "Metrics on the test rows", table(columns, rows, align=align, label="Metrics"), note, wide=True
    )


def _drawn(evaluation: Document) -> str:
    """Return of what the intervals are: drawn days are wider, and truer, than drawn rows."""
    of = (evaluation.get("interval") or {}).get("of")
    return f"95 % intervals of {of}" if of else "95 % intervals"


def _ends(item: Document) -> str:
    if item.get("low") is None or item.get("high") is None:
        return number(None)
    return f"{number(item['low'])} to {number(item['high'])}"


def _against(name: str, own: float | None, other: float | None) -> Html | str:
    if own is None or other is None or not (math.isfinite(own) and math.isfinite(other)):
        return number(other)
    by = gain(name, other, own)
    if by is None or by == 0:
        return number(other)
    glyph, words, state = ("✓", "better than", "ok") if by > 0 else ("✕", "worse than", "bad")
    sign = tag("span", glyph, class_=state, role="img", aria_label=f"this version is {words} this")
    return join(number(other), " ", sign)


def classes(evaluation: Document) -> Section | None:
    """Return how each class does, those of most rows first."""
    found = evaluation.get("classes") or []
    if not found:
        return None
    some = f"the {MOST_CLASSES} of most rows of {len(found)}; " if len(found) > MOST_CLASSES else ""
    note = f"{some}recall: of its rows, how many are found; precision: how often it is right when it is said"
    return Section(
        "Classes", table(CLASSES, class_rows(found), align="lrrrrl", label="Classes"), note, wide=True
    )


def class_rows(found: Sequence[Document]) -> list[list[Any]]:
    """Return the cells of a table of classes, in the columns `CLASSES`, of those with most rows."""
    return [
        [
            str(item["class"]),
            item["learned"],
            item["rows"],
            item["recall"],
            item["precision"],
            _mistaken(item),
        ]
        for item in sorted(found, key=lambda item: -item["rows"])[:MOST_CLASSES]
    ]


def _mistaken(item: Document) -> str:
    """Return what the rows of a class were taken for instead, most often first."""
    told = [f"{other} ({number(rows)})" for other, rows in item["taken_for"]]
    more = f" and {len(told) - 3} more" if len(told) > 3 else ""
    return ", ".join(told[:3]) + more


def slices(evaluation: Document) -> Section | None:
    """Return the main metric by slice, as points with whiskers; the other metrics as a table to open."""
    found = evaluation.get("slices") or []
    name = main_metric(evaluation)
    if not found:
        return None
    rows = []
    for item in found[:MOST_SLICES]:
        value = item["metrics"].get(name) or {}
        rows.append(
            Interval(
                f"{item['feature']} = {item['value']}",
                value.get("value"),
                value.get("low"),
                value.get("high"),
                f"· {number(item['rows'])} rows",
                bool(item.get("small")),
            )
        )
    overall = evaluation["metrics"][name]["value"]
    reference = None if overall is None else (overall, f"all rows {number(overall, 3)}")
    chart = whiskers(rows, label=f"{name} by slice", reference=reference, width=WIDE)
    more = f"; {len(found) - MOST_SLICES} more in the table" if len(found) > MOST_SLICES else ""
    note = f"{_drawn(evaluation)}; hollow: few rows{more}"
    return Section(
        f"{name} by slice",
        join(scrolled(chart, f"{name} by slice"), fold_away("All metrics", _slice_table(found))),
        note,
        wide=True,
    )


def _slice_table(found: Sequence[Document]) -> Html:
    names = list(dict.fromkeys(name for item in found for name in item["metrics"]))
    rows = [
        [f"{item['feature']} = {item['value']}", item["rows"], "few rows" if item.get("small") else ""]
        + [_with_ends(item["metrics"].get(name)) for name in names]
        for item in found
    ]
    return table(["slice", "rows", "note", *names], rows, align="lrl" + "r" * len(names), label="Slices")


def _with_ends(item: Document | None) -> str:
    if not item or item.get("value") is None:
        return number(None)
    ends = "" if item.get("low") is None else f" ({number(item['low'], 3)} to {number(item['high'], 3)})"
    return f"{number(item['value'])}{ends}"


def learning_curve(evaluation: Document) -> Section | None:
    """Return how the metric went as the estimator learned."""
    found = evaluation.get("learning_curve")
    if not found:
        return None
    if "why" in found:
        return Section("Learning curve", tag("p", f"There is none: {found['why']}."))
    series = {}
    for part in ("train", "test"):
        values = found.get(part) or []
        series[part] = list(zip(found.get("at") or range(1, len(values) + 1), values, strict=False))
    series = {part: points for part, points in series.items() if points}
    rows, tested = found.get("rows"), (evaluation.get("rows") or {}).get("test", 0)
    some = f", on {number(rows)} of the test rows" if "test" in series and rows and rows < tested else ""
    note = f"by {found.get('of', 'round')}{some}"
    return Section("Learning curve", curves(series, str(found.get("metric", ""))), note)


def curves(series: Mapping[str, Sequence[tuple[float, float | None]]], metric: str) -> Html:
    """Return metrics over steps."""
    last = max((points[-1][0] for points in series.values() if points), default=1)
    first = min((points[0][0] for points in series.values() if points), default=0)
    at = sorted({first, *(first + round((last - first) * part / 4) for part in range(1, 5))})
    return svg.lines(
        series, label=f"{metric} by step", x_labels=[(x, f"{x:,.0f}") for x in at], y_label=metric
    )


def calibration(evaluation: Document) -> Section | None:
    """Return what happened against what was predicted, before and after calibration."""
    found = evaluation.get("calibration")
    if not found:
        return None
    method = found.get("method")
    drawn = {"as learned": found.get("before"), f"after {method}": found.get("after") if method else None}
    drawn = {name: bins for name, bins in drawn.items() if bins}
    if not drawn:
        return None
    return Section(
        "Calibration",
        svg.calibration(drawn, label="Calibration on the test rows"),
        "test rows, bins of equal size",
    )


def importance(evaluation: Document) -> Section | None:
    """Return what the model looks at."""
    found = evaluation.get("importance") or {}
    how = {
        "gain": "share of gain",
        "permutation": "loss when shuffled",
        "coefficient": "size of the coefficient",
    }
    note = how.get(str(evaluation.get("importance_of")), "")
    return _ranked("Importance", found, note)


def shap(evaluation: Document) -> Section | None:
    """Return how much each feature moves the scores."""
    return _ranked("What moves the scores", evaluation.get("shap") or {}, "mean size of the SHAP value")


def _ranked(title: str, found: Mapping[str, float], note: str) -> Section | None:
    if not found:
        return None
    top = sorted(found.items(), key=lambda item: -abs(item[1]))[:MOST_FEATURES]
    more = f"the first {len(top)} of {len(found)}" if len(found) > len(top) else ""
    return Section(
        title, svg.bars(dict(top), label=f"{title}: {note}"), ", ".join(filter(None, (note, more)))
    )


def folds(evaluation: Document) -> Section | None:
    """Return the main metric by fold: earlier periods, each tested after what it learned from."""
    found = evaluation.get("folds") or []
    name = main_metric(evaluation)
    if not found:
        return None
    rows = [
        Interval(
            f"{day(item['test'][0])} to {day(item['test'][1])}",
            (item.get("metrics") or {}).get(name),
            note=f"· {number(item['rows'][1])} rows" + (f", {item['note']}" if item.get("note") else ""),
        )
        for item in found
    ]
    overall = evaluation["metrics"][name]["value"]
    reference = None if overall is None else (overall, f"test {number(overall, 3)}")
    chart = whiskers(rows, label=f"{name} by fold", reference=reference)
    return Section(f"{name} by fold", chart, "each tested on the period after what it learned from")


def tuning(evaluation: Document) -> Section | None:
    """Return the trials and the settings of the best ones."""
    found = evaluation.get("tuning")
    if not found:
        return None
    metric, tried = str(found.get("metric", "")), found.get("trials") or []
    known = METRICS.get(metric)
    greater = known is None or known.greater_is_better
    chart = trials(tried, found.get("best"), label="Trials of the tuning", metric=metric, greater=greater)
    done = [item for item in tried if item.get("value") is not None and item.get("state") == "done"]
    top = sorted(done, key=lambda item: item["value"], reverse=greater)[:MOST_TRIALS]
    names = list(dict.fromkeys(name for item in top for name in item["params"]))
    rows = [
        [item["number"], item["value"], *(shown(item["params"].get(name)) for name in names)] for item in top
    ]
    best = table(["trial", metric, *names], rows, align="rr" + "r" * len(names), label="The best trials")
    note = f"{len(tried)} trials, seed {found.get('seed')}"
    return Section(
        "Tuning", join(scrolled(chart, "Tuning"), fold_away(f"The best {len(top)} settings", best)), note
    )
