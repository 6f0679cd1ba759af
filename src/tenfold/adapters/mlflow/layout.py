"""A version's files as MLflow lays out a model: the native booster beside an MLmodel file, which its clients load without tenfold."""

from collections.abc import Mapping
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
        document["signature"] = _signature(manifest["columns"])
    # every JSON document is a YAML document
    return msgspec.json.format(msgspec.json.encode(document))


def _signature(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns as MLflow checks them: all are float64, text as its code in the manifest."""
    inputs = [{"type": "double", "name": name, "required": True} for name in columns]
    outputs = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]
    return {"inputs": msgspec.json.encode(inputs).decode(), "outputs": msgspec.json.encode(outputs).decode()}
