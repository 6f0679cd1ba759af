"""report.html: the year as pictures; one file that loads nothing."""

from pathlib import Path
from typing import Any

from examples.flights.year import Year
from tenfold import App, Model
from tenfold.core.times import iso
from tenfold.ui import svg
from tenfold.ui.report import Section, badge, numbers, page, table


def write_report(app: App, model: Model, year: Year, result: dict[str, Any], path: Path) -> None:
    """Write the report of the demo."""
    sections = [
        Section("", numbers(_tiles(result)), wide=True),
        Section(
            "AUC by week", _weeks(year, app, model), note="served predictions, outcomes known", wide=True
        ),
        Section("Late flights, predicted and happened", _late(year), note="share by week"),
        Section(
            "Calibration",
            svg.calibration(year.calibration, label="Calibration of the loop and of the frozen version"),
        ),
        Section("The year", _table(year), wide=True),
        Section(
            "Drift by feature and week, most important first",
            _drift(year),
            note="PSI against the training set of version 1",
            wide=True,
        ),
        Section("What was decided", _decisions(result), note="the audit log", wide=True),
        Section(
            "What the model looks at", _importance(app, model), note="share of gain, version in production"
        ),
        Section("Rows that were set aside", _rejects(app), note="quarantine"),
    ]
    status = badge(
        "no skew" if not result["skew"]["mismatches"] else "skew",
        "ok" if not result["skew"]["mismatches"] else "bad",
    )
    path.write_text(page("flights", "A year of flights from New York, 2013", sections, status=status))


def _tiles(result: dict[str, Any]) -> list[tuple[str, object, str, str]]:
    skew, latency, fresh = result["skew"], result["latency_ms"], result["freshness_ms"]
    better = result["mean_auc_loop"] - result["mean_auc_frozen"]
    return [
        (
            "Mean AUC of the loop",
            f"{result['mean_auc_loop']:.4f}",
            f"{better:+.4f} against frozen",
            "ok" if better > 0 else "warn",
        ),
        (
            "AUC on the test months",
            f"{result['auc_test']:.4f}",
            f"static features {result['auc_static']:.4f}",
            "ok",
        ),
        (
            "Differing feature cells",
            f"{skew['mismatches']}",
            f"of {skew['cells']:,} served",
            "bad" if skew["mismatches"] else "ok",
        ),
        ("Latency p99", f"{latency['p99']} ms", f"p50 {latency['p50']} ms", "none"),
        ("Freshness p99", f"{fresh['p99']} ms", f"p50 {fresh['p50']} ms", "none"),
        ("Predictions", f"{result['predictions']:,}", f"{result['predictions_live']:,} of them live", "none"),
    ]


def _weeks(year: Year, app: App, model: Model) -> str:
    loop = [(week.start / 1e6, week.metrics["roc_auc"]) for week in year.weeks]
    frozen = [(week.start / 1e6, week.metrics["roc_auc"]) for week in year.weeks_frozen]
    labels = [(week.start / 1e6, iso(week.start)[5:10]) for week in year.weeks[::5]]
    markers = [
        (event.at / 1e6, f"v{event.version}")
        for event in app.registry.history(model.name)
        if event.to_stage == "production" and event.by != "drill"
    ]
    return svg.lines(
        {"loop": loop, "frozen": frozen},
        label="AUC by week of the loop and of the first version, frozen",
        x_labels=labels,
        y_label="AUC",
        markers=markers,
        width=1000,
        height=240,
    )


def _late(year: Year) -> str:
    return svg.lines(
        {
            "happened": [(week.start / 1e6, week.happened) for week in year.weeks],
            "loop predicted": [(week.start / 1e6, week.predicted) for week in year.weeks],
            "frozen predicted": [(week.start / 1e6, week.predicted) for week in year.weeks_frozen],
        },
        label="Share of late flights by week: what happened and what was predicted",
        x_labels=[(week.start / 1e6, iso(week.start)[5:10]) for week in year.weeks[::9]],
        y_label="late",
    )


def _drift(year: Year) -> str:
    """Return the heat map of the features that carry the model; the others would fill the page with noise."""
    shown = sorted(year.drift.rows, key=lambda row: -row["importance"])[:18]
    return svg.heatmap(
        [row["feature"] for row in shown],
        year.drift.weeks,
        year.drift.psi[:18],
        label="Population stability index of the eighteen most important features by week",
        weights=[row["importance"] for row in shown],
        notes=[f"{row['psi']:.2f} {row['verdict']}" for row in shown],
        width=1000,
    )


def _table(year: Year) -> str:
    rows = [
        (
            month.month,
            round(month.late_rate, 3),
            round(month.auc_frozen, 4),
            round(month.auc_loop, 4),
            "; ".join(month.decisions),
        )
        for month in year.months
    ]
    return table(["month", "late rate", "AUC frozen", "AUC of the loop", "what was decided, and why"], rows)


def _decisions(result: dict[str, Any]) -> str:
    states = {"promoted": "ok", "refused": "bad", "rolled back": "warn"}
    rows = [
        (
            iso(item["at"])[:16],
            badge(item["decision"], states.get(item["decision"], "none")),
            item["subject"],
            item["why"],
            item["by"],
        )
        for item in result["decisions"]
    ]
    return table(["UTC", "decision", "version", "why", "by"], rows)


def _importance(app: App, model: Model) -> str:
    manifest = app.versions.production(model).package.manifest
    top = sorted(manifest.importance.items(), key=lambda item: -item[1])[:16]
    return svg.bars(dict(top), label="The sixteen most important features")


def _rejects(app: App) -> str:
    rows = [(item.source, item.reason, item.rows) for item in app.quarantine.counts()]
    return table(["source", "reason", "rows"], rows) if rows else "none"
