"""A version's files as MLflow lays out a model: the native booster beside an MLmodel file, which its clients load without tenfold."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

FLAVORS = {
    "model.txt": ("lightgbm", "lightgbm.basic.Booster"),
    "model.ubj": ("xgboost", "xgboost.core.Booster"),
}
"""MLflow's name of what is in a file, and the class that reads it; of other files MLflow has none that runs no code."""
MLMODEL, MANIFEST = "MLmodel", "manifest.json"


def layout(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of a version, with an MLmodel file when MLflow can load the model in them."""
    name = next((name for name in FLAVORS if name in files), None)
    return dict(files) if name is None else {**files, MLMODEL: _mlmodel(name, files)}


def caveat(files: Mapping[str, bytes]) -> str:
    """Return in which way the file alone scores otherwise than the version does here."""
    manifest: dict[str, Any] = msgspec.json.decode(files.get(MANIFEST, b"{}"))
    texts = sorted(name for name, known in (manifest.get("categories") or {}).items() if known)
    told = [f"{', '.join(texts)}: give the place in categories of {MANIFEST}"] if texts else []
    if manifest.get("calibration"):
        told.append("these scores are those before calibration")
    return "; ".join(told)


def _mlmodel(name: str, files: Mapping[str, bytes]) -> bytes:
    manifest: dict[str, Any] = msgspec.json.decode(files.get(MANIFEST, b"{}"))
    flavor, kind = FLAVORS[name]
    libraries = manifest.get("libraries") or {}
    version = next((v for library, v in libraries.items() if library.startswith(flavor)), "unknown")
    own = {"data": name, "model_class": kind}
    own |= (
        {"lgb_version": version} if flavor == "lightgbm" else {"xgb_version": version, "model_format": "ubj"}
    )
    document: dict[str, Any] = {
        "artifact_path": "model",
        "flavors": {flavor: own, "python_function": {"loader_module": f"mlflow.{flavor}", "data": name}},
    }
    if manifest.get("columns"):
        names = list(manifest.get("inputs") or manifest["columns"])
        document["signature"] = _signature(names, manifest.get("classes") or ())
    # every JSON document is a YAML document
    return msgspec.json.format(msgspec.json.encode(document))


def _signature(columns: Sequence[str], classes: Sequence[Any]) -> dict[str, str]:
    """Return the columns as MLflow checks them: all are float64, text as its code in the manifest."""
    shape = [-1, len(classes)] if len(classes) > 2 else [-1]
    inputs = [{"type": "double", "name": name, "required": True} for name in columns]
    outputs = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": shape}}]
    return {"inputs": msgspec.json.encode(inputs).decode(), "outputs": msgspec.json.encode(outputs).decode()}
