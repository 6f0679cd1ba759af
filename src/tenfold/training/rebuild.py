"""A version made again: the same bytes, or what differs, why it may, and by how much the scores differ."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from tenfold.core.errors import TenfoldError
from tenfold.registry.versions import Version
from tenfold.sources.base import Lake
from tenfold.sources.blobs import make_manifest
from tenfold.tracking.environment import environment
from tenfold.tracking.runs import Run
from tenfold.training.model import Model
from tenfold.training.package import Package
from tenfold.training.train import Trainer, settings_of

_MANIFEST = "manifest.json"
Document = dict[str, Any]


def rebuild(
    trainer: Trainer, model: Model, lake: Lake, version: Version, *, restore: bool = False
) -> Document:
    """Train a version again from the table versions its run names, and return what came of it as JSON values.

    `same` says whether the files are the registered ones, byte for byte, by their sha256: also when the stored files
    are lost. With `restore`, files that are the same are then put back where the stored ones cannot be read. Nothing
    else is changed. `why` explains a difference in sentences, the most likely cause first.
    """
    run = trainer.runs.get(version.run_id)
    stored, problem = _stored(trainer, version)
    found: Document = {
        "model": version.model,
        "version": version.number,
        "run": run.id,
        "same": False,
        "stored": problem or "whole",
        "restored": False,
        "declaration": _declaration(run, model, stored),
        "environment": _environment(run, trainer.code),
        "files": [],
        "metrics": [],
        "scores": None,
    }
    if run.kind != "train":
        told = f"It was trained elsewhere, and registered from the file {run.params.get('file')}"
        return found | {
            "why": [f"{told} (sha256 {run.params.get('sha256')}): there is nothing to train again here."]
        }
    try:
        package = None if found["declaration"] else trainer.again(model, lake, run.id)
    except TenfoldError as error:
        return found | {"why": [f"It cannot be trained again: {error}"]}
    if package is None:
        return found | {"why": _why(found)}
    files = package.files()
    found["same"] = hashlib.sha256(make_manifest(files)).hexdigest() == version.digest
    if stored and not found["same"]:
        found |= _differences(stored, package, files)
    if found["same"] and problem and restore:
        trainer.blobs.delete(version.artefact)
        trainer.blobs.put(version.artefact, files)
        found |= {"restored": True, "stored": "whole"}
    return found | {"why": _why(found)}


def _stored(trainer: Trainer, version: Version) -> tuple[dict[str, bytes], str]:
    """Return the files of a version, or why they cannot be read."""
    try:
        return trainer.blobs.get(version.artefact), ""
    except TenfoldError as error:
        return {}, str(error)


def _declaration(run: Run, model: Model, stored: Mapping[str, bytes]) -> Document | None:
    """Return how the declaration differs from the one the run was made with, None when it does not."""
    before = run.code.get("declaration")
    if before == model.fingerprint:
        return None
    manifest = msgspec.json.decode(stored[_MANIFEST]) if stored else {}
    columns, views = manifest.get("columns") or {}, manifest.get("views") or {}
    now = {view.name: view.fingerprint for view in model.views}
    settings = settings_of(model)
    return {
        "then": before,
        "now": model.fingerprint,
        "added": [name for name in model.columns if columns and name not in columns],
        "removed": [name for name in columns if name not in model.columns],
        "changed_views": [name for name, mark in views.items() if now.get(name, mark) != mark],
        "estimator": [
            {"name": name, "then": run.params[name], "now": value}
            for name, value in settings.items()
            if name in run.params and run.params[name] != value
        ],
    }


def _environment(run: Run, code: Mapping[str, str]) -> list[Document]:
    """Return the versions, and the commit, that were others when the run was made."""
    before = _flat(run.environment) | _committed(run.code)
    now = _flat(environment()) | _committed(code)
    return [
        {"name": name, "then": value, "now": now[name]}
        for name, value in before.items()
        if name in now and now[name] != value
    ]


def _committed(code: Mapping[str, str]) -> dict[str, str]:
    return {"the commit": code["git"]} if "git" in code else {}


def _flat(told: Mapping[str, Any]) -> dict[str, str]:
    return {name: told[name] for name in ("python", "platform") if name in told} | told.get("libraries", {})


def _differences(stored: Mapping[str, bytes], package: Package, files: Mapping[str, bytes]) -> Document:
    names = sorted({*stored, *files})
    before, after = (msgspec.json.decode(part[_MANIFEST]) for part in (stored, files))
    return {
        "files": [
            {
                "name": name,
                "same": stored.get(name) == files.get(name),
                "stored": _size(stored, name),
                "now": _size(files, name),
            }
            for name in names
        ],
        "manifest": sorted(name for name in {*before, *after} if before.get(name) != after.get(name)),
        "metrics": [
            {"name": name, "then": value, "now": after["metrics"].get(name)}
            for name, value in before["metrics"].items()
            if after["metrics"].get(name) != value
        ],
        "scores": _scores(before, package) if before["columns"] == after["columns"] else None,
    }


def _size(files: Mapping[str, bytes], name: str) -> int | None:
    return len(files[name]) if name in files else None


def _scores(before: Mapping[str, Any], package: Package) -> Document:
    """Return by how much the scores of the stored golden rows differ."""
    kept = msgspec.convert(before, type=_Golden, strict=False)
    rows = np.frombuffer(kept.golden_rows, dtype=np.float64).reshape(-1, len(before["columns"]))
    then = np.frombuffer(kept.golden_scores, dtype=np.float64)
    apart = np.abs(np.asarray(package.predictor.predict(rows), dtype=np.float64).ravel() - then)
    return {
        "rows": len(rows),
        "values": len(apart),
        "differ": int((apart > 0).sum()),
        "largest": float(apart.max(initial=0.0)),
        "mean": float(apart.mean()) if len(apart) else 0.0,
    }


class _Golden(msgspec.Struct):
    golden_rows: bytes
    golden_scores: bytes


def _why(found: Document) -> list[str]:
    """Return what explains a difference, in sentences."""
    if found["same"]:
        return []
    told = []
    if found["declaration"]:
        told.append(_told_declaration(found["declaration"]))
    told += [f"{item['name']} was {item['then']} and is {item['now']} now." for item in found["environment"]]
    differing = [item["name"] for item in found["files"] if not item["same"]]
    if differing:
        told.append(
            f"These files differ: {', '.join(differing)}; of the manifest: {', '.join(found['manifest']) or 'nothing'}."
        )
    scores = found["scores"]
    if scores:
        told.append(
            f"Of {scores['values']} scores of golden rows {scores['differ']} differ, by {scores['largest']:.3g} at most "
            f"and {scores['mean']:.3g} on average."
        )
    if not found["files"] and not found["declaration"]:
        told.append("The stored files cannot be read, so what differs is not known.")
    return told


def _told_declaration(item: Document) -> str:
    parts = [
        f"{word} {', '.join(names)}"
        for word, names in (
            ("new features", item["added"]),
            ("features that are gone", item["removed"]),
            ("changed views", item["changed_views"]),
            ("settings", [f"{one['name']} {one['then']} (now {one['now']})" for one in item["estimator"]]),
        )
        if names
    ]
    return (
        f"It was made with another declaration ({item['then']}, now {item['now']}): "
        f"{'; '.join(parts) or 'the label, its horizon or a window'}. It was not trained again: check out its commit."
    )
