"""What is known of a run, of a version and of two runs side by side, as documents: JSON, the terminal and the pages tell the same."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tenfold.automation.audit import Audit
from tenfold.core.errors import NotFound, TenfoldError
from tenfold.core.times import iso
from tenfold.registry.versions import Registry, StageEvent, Version
from tenfold.sources.base import Blobs
from tenfold.sources.database import Database
from tenfold.tracking.compare import compare
from tenfold.tracking.details import details
from tenfold.tracking.runs import Run, Runs
from tenfold.training.metrics import METRICS

Document = dict[str, Any]
_MANIFEST = "manifest.json"
_TOLD_OF_A_MANIFEST = (
    "kind",
    "format",
    "threshold",
    "label",
    "declaration",
    "libraries",
    "training_set",
    "classes",
    "period",
)


@dataclass(frozen=True, slots=True)
class Kept:
    """Where everything lies that is known of runs and versions."""

    database: Database
    runs: Runs
    registry: Registry
    blobs: Blobs
    audit: Audit


def run_document(kept: Kept, run_id: str) -> Document:
    """Return everything that is known of a run; numbers that are not finite are as they were (see `plain`)."""
    run = kept.runs.get(run_id)
    more = details(kept.database, run)
    versions = [v for v in kept.registry.versions(run.subject) if v.run_id == run.id]
    manifest, problem = _manifest(kept, run.artefact)
    curves = {
        name: [{"step": point.step, "value": point.value, "at": iso(point.at)} for point in points]
        for name, points in more.curves.items()
    }
    return {
        **run_line(run),
        "params": run.params | _tuned(manifest),
        "name": run.id,
        "title": run.title,
        "seconds": None if run.finished is None else (run.finished - run.started) / 1e6,
        "samples": _samples(run, manifest),
        "environment": run.environment,
        "curves": curves,
        "files": [{"name": f.name, "bytes": f.size, "sha256": f.digest, "at": iso(f.at)} for f in more.files],
        "notes": [{"at": iso(item.at), "by": item.by, "text": item.text} for item in more.notes],
        "tags": more.tags,
        "diff": more.diff,
        "versions": [
            {"version": v.number, "stage": v.stage.value, "created": iso(v.created)} for v in versions
        ],
        "features": _features(manifest),
        "evaluation": manifest.get("evaluation") or {},
        "problem": problem,
    }


def run_line(run: Run) -> Document:
    """Return what a list tells of a run."""
    return {
        "run": run.id,
        "kind": run.kind,
        "model": run.subject,
        "title": run.title,
        "status": run.status,
        "started": iso(run.started),
        "finished": None if run.finished is None else iso(run.finished),
        "metrics": run.metrics,
        "params": run.params,
        "data": run.data,
        "code": run.code,
        "error": run.error,
    }


def version_document(kept: Kept, model: str, number: int, project: str = "PROJECT.py") -> Document:
    """Return everything that is known of a version: what a model card tells; its commands name the project."""
    version = kept.registry.get(model, number)
    manifest, problem = _manifest(kept, version.artefact)
    run = kept.runs.get(version.run_id)
    every = kept.registry.history(model)
    info = {name: value for name, value in version.info.items() if name != "evaluation"}
    rebuild = f"tenfold models rebuild {project} {model} {number}" if run.kind == "train" else ""
    return {
        **version_line(version),
        **info,
        **{name: manifest[name] for name in _TOLD_OF_A_MANIFEST if name in manifest},
        "period": version.info.get("period", ""),
        "artefact": version.artefact,
        "features": _features(manifest),
        "tables": dict(manifest.get("tables") or run.data),
        "evaluation": manifest.get("evaluation") or {},
        "gates": [
            {
                "at": iso(d.at),
                "kind": d.kind,
                "decision": d.decision,
                "by": d.by,
                "why": d.why,
                "evidence": d.evidence,
            }
            for d in kept.audit.list(f"{model}/{number}")
        ],
        "history": [event_line(event) for event in every if event.version == number],
        "champion": next((v.number for v in kept.registry.versions(model) if v.stage == "production"), None),
        "run_of": run_document(kept, version.run_id),
        "rebuild": rebuild,
        "problem": f"{problem} If they come out the same: {rebuild} --restore"
        if problem and rebuild
        else problem,
    }


def version_line(version: Version) -> Document:
    """Return what a list tells of a version."""
    return {
        "model": version.model,
        "version": version.number,
        "stage": version.stage.value,
        "run": version.run_id,
        "created": iso(version.created),
        "digest": version.digest,
    }


def event_line(event: StageEvent) -> Document:
    """Return a move between stages."""
    return {
        "at": iso(event.at),
        "model": event.model,
        "version": event.version,
        "from": event.from_stage.value,
        "to": event.to_stage.value,
        "by": event.by,
        "why": event.why,
        "evidence": event.evidence,
    }


def compare_document(kept: Kept, a: str, b: str) -> Document:
    """Return what differs between two runs; a version, written `model/3`, stands for its run."""
    one, other = (run_document(kept, run_of(kept, name)) | {"name": name} for name in (a, b))
    sides = {
        name: {part: side[part] for part in ("run", "model", "title", "status", "started")}
        for name, side in (("a_run", one), ("b_run", other))
    }
    return {**compare(one, other, gain), **sides}


def run_of(kept: Kept, name: str) -> str:
    """Return the id of a run that is named by its id or by its version, `model/3`; NotFound names the nearest."""
    model, slash, number = name.rpartition("/")
    if not slash:
        return kept.runs.get(name).id
    if not number.isdecimal():
        known = [str(v.number) for v in kept.registry.versions(model)]
        if not known:
            return kept.runs.get(name).id  # which is none either, and names those there are
        raise NotFound("version", number, known, within=f'model "{model}"')
    return kept.registry.get(model, int(number)).run_id


def gain(name: str, before: float, after: float) -> float | None:
    """Return by how much a metric is better than before; None of one that tenfold does not know.

    Of the rows that were learned from ("train.log_loss") nothing is known to be better: it may be learned by heart.

    Examples
    --------
    >>> gain("log_loss", 0.5, 0.4), gain("train.log_loss", 0.5, 0.4), gain("profit", 1.0, 2.0)
    (0.1, None, None)
    """
    metric = METRICS.get(name)
    return None if metric is None else metric.gain(before, after)


def plain(value: Any) -> Any:
    """Return a document without numbers that JSON has no way to write: these become "NaN", "Infinity", "-Infinity".

    Examples
    --------
    >>> plain({"loss": [0.5, float("nan"), float("-inf")]})
    {'loss': [0.5, 'NaN', '-Infinity']}
    """
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    return value


def _manifest(kept: Kept, artefact: str | None) -> tuple[Document, str]:
    """Return the manifest of a blob as it stands there, and what is wrong with the blob, if anything is."""
    if artefact is None:
        return {}, ""
    try:
        files = kept.blobs.get(artefact)
        return (msgspec.json.decode(files[_MANIFEST]) if _MANIFEST in files else {}), ""
    except (TenfoldError, msgspec.DecodeError) as error:
        return {}, str(error)


def _features(manifest: Mapping[str, Any]) -> list[Document]:
    shares, definitions = manifest.get("importance") or {}, manifest.get("definitions") or {}
    return [
        {
            "name": name,
            "type": kind,
            "importance": shares.get(name),
            "definition": definitions.get(name, ""),
        }
        for name, kind in (manifest.get("columns") or {}).items()
    ]


def _tuned(manifest: Mapping[str, Any]) -> Document:
    """Return the parameters that a search chose instead of the declared ones."""
    found = (manifest.get("evaluation") or {}).get("tuning") or {}
    chosen = [item["params"] for item in found.get("trials") or () if item["number"] == found.get("best")]
    return {f"{name} (tuned)": value for params in chosen for name, value in params.items()}


def settings(document: Mapping[str, Any]) -> Document:
    """Return the parameters of a run without those that only say which rows: its period tells them."""
    return {name: value for name, value in document["params"].items() if name not in ("train", "test", "now")}


def _samples(run: Run, manifest: Mapping[str, Any]) -> Document:
    """Return the rows of a run; of a training, from its files."""
    if run.samples or not manifest:
        return run.samples
    count = (manifest.get("evaluation") or {}).get("rows") or {"train": manifest.get("rows")}
    found: Document = {name: {"rows": rows} for name, rows in count.items()}
    found.setdefault("train", {})["digest"] = manifest.get("training_set")
    return found
