"""Reads runs and model versions of an MLflow server, to be taken over."""

import json
import math
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from tenfold.adapters.mlflow.client import client, experiments, pages, told
from tenfold.adapters.mlflow.layout import FLAVORS, MLMODEL
from tenfold.core.errors import MissingExtra
from tenfold.training.formats import onnx, pickled, skops
from tenfold.training.imported import INPUTS, ForeignRun, ForeignVersion

SYSTEM = "mlflow"
ENDED = {"FINISHED": "done", "FAILED": "failed", "KILLED": "failed"}
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
LEFT = ("mlflow.log-model.history", "mlflow.runName")
MOST_NAMES = 1_000
"""Most artefacts of a run that are listed."""
TAKEN = {flavor: file for file, (flavor, _) in FLAVORS.items()} | {"sklearn": skops.FILE, "onnx": onnx.FILE}
"""The flavours that are taken over, with their file here; a file that any of them pickled is kept unopened."""
OPAQUE = "its model is a pickle, which was kept and not opened: it can be registered for a model that says trusted=['pickle']"
CONSTANTS = {"True": True, "False": False, "None": None}


class MLflowSource:
    """`Source` on an MLflow server, read and never written.

    Examples
    --------
    >>> MLflowSource("http://127.0.0.1:5000")
    MLflowSource('http://127.0.0.1:5000')
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    @cached_property
    def _mlflow(self) -> Any:
        return client(self._url)

    @cached_property
    def _versions(self) -> list[Any]:
        return self._all_versions()

    @told
    def _all_versions(self) -> list[Any]:
        found = pages(self._mlflow.search_model_versions)
        return sorted(found, key=lambda item: (item.name, int(item.version)))

    def runs(self, experiments: Sequence[str]) -> Iterator[ForeignRun | str]:
        models: dict[str, set[str]] = {}
        for experiment, run in self._all(tuple(experiments)):
            if not models:
                for version in self._versions:
                    models.setdefault(version.run_id, set()).add(version.name)
            if run.info.status not in ENDED:
                yield f'run {run.info.run_id} of "{experiment}" is {run.info.status}: import it again when it has ended'
                continue
            made = models.get(run.info.run_id, set())
            yield self._run(run, next(iter(made)) if len(made) == 1 else experiment)

    @told
    def _all(self, names: tuple[str, ...]) -> list[tuple[str, Any]]:
        return [
            (found.name, run)
            for found in experiments(self._mlflow, names)
            for run in pages(
                self._mlflow.search_runs,
                experiment_ids=[found.experiment_id],
                order_by=["attributes.start_time ASC"],
            )
        ]

    @told
    def _run(self, run: Any, subject: str) -> ForeignRun:
        info, tags = run.info, run.data.tags
        points = [
            (name, point.step, _number(point.value), point.timestamp * 1_000)
            for name in run.data.metrics
            for point in self._mlflow.get_metric_history(info.run_id, name)
        ]
        started = info.start_time or 0
        commit = tags.get("mlflow.source.git.commit")
        return ForeignRun(
            SYSTEM,
            info.run_id,
            subject,
            info.run_name or "",
            ENDED[info.status],
            started * 1_000,
            max(info.end_time or 0, started) * 1_000,
            {name: _value(text) for name, text in run.data.params.items()},
            points,
            {name: value for name, value in tags.items() if name not in LEFT},
            self._artefacts(info.run_id),
            {"mlflow_server": self._url.rpartition("@")[2]} | ({"git": commit} if commit else {}),
            f"MLflow: {info.status}",
        )

    def _artefacts(self, run_id: str) -> dict[str, int]:
        found: dict[str, int] = {}
        folders: list[str | None] = [None]
        while folders and len(found) < MOST_NAMES:
            for item in self._mlflow.list_artifacts(run_id, folders.pop()):
                if item.is_dir:
                    folders.append(item.path)
                else:
                    found[item.path] = item.file_size or 0
        return found

    def versions(self) -> Iterator[ForeignVersion]:
        return map(self._version, self._versions)

    @told
    def _version(self, item: Any) -> ForeignVersion:
        # of a model its aliases are told, of the versions that a search finds they are not
        aliases = self._mlflow.get_registered_model(item.name).aliases
        mine = sorted(alias for alias, number in aliases.items() if str(number) == str(item.version))
        info = {"aliases": mine, "tags": dict(item.tags), "description": item.description or ""}
        known = (SYSTEM, item.name, str(item.version), item.run_id)
        return ForeignVersion(*known, info, lambda: self._read(item))

    @told
    def _read(self, item: Any) -> tuple[dict[str, bytes], str]:
        with tempfile.TemporaryDirectory() as folder:
            return self._files(item, Path(folder))

    def _files(self, item: Any, folder: Path) -> tuple[dict[str, bytes], str]:
        """Return the model of a version and what it takes, or why there is none that can be used."""
        import yaml

        try:
            place = self._mlflow.get_model_version_download_uri(item.name, item.version)
            described = self._download(f"{place}/{MLMODEL}", folder)
            document = yaml.safe_load(described)
            kept = _kept(document.get("flavors") or {})
            inputs = _inputs(document)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with its files, its run is worth taking
            return {}, f"its {MLMODEL} file cannot be read ({' '.join(str(error).split())[:200]})"
        if isinstance(kept, str):
            return {}, kept
        if not PLAIN.fullmatch(kept.data):
            return {}, f'"{kept.data}" is no name of a model file'
        try:
            data = self._download(f"{place}/{kept.data}", folder)
            files = {kept.file: _native(kept.flavor, data) if kept.file in FLAVORS else data}
        except MissingExtra:
            raise
        except Exception as error:  # noqa: BLE001
            return {}, f"{kept.flavor} cannot load {kept.data} ({' '.join(str(error).split())[:200]})"
        return files | {MLMODEL: described} | inputs, OPAQUE if kept.file == pickled.FILE else ""

    def _download(self, uri: str, folder: Path) -> bytes:
        from mlflow.artifacts import download_artifacts

        return Path(
            download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=self._url)
        ).read_bytes()


class _Kept(NamedTuple):
    """Which file of a version is its model, and as what it is kept here."""

    flavor: str
    data: str
    file: str


def _kept(flavors: Mapping[str, Any]) -> _Kept | str:
    """Return what is taken of a model in several flavours, or why nothing is."""
    for flavor in TAKEN:
        told = flavors.get(flavor)
        if told is None:
            continue
        data = str(told.get("pickled_model" if flavor == "sklearn" else "data"))
        if data.endswith(".skops"):
            return _Kept(flavor, data, skops.FILE)
        if flavor == "sklearn" or data.endswith(".pkl"):
            return _Kept(flavor, data, pickled.FILE)
        return _Kept(flavor, data, TAKEN[flavor])
    names = ", ".join(sorted(name for name in flavors if name != "python_function")) or "none"
    return f"none of its formats is one that is loaded here ({names})"


def _inputs(document: Mapping[str, Any]) -> dict[str, bytes]:
    """Return a file of the names and types of a model's inputs, where its signature names them all."""
    found = json.loads((document.get("signature") or {}).get("inputs") or "[]")
    named = [[item["name"], str(item.get("type"))] for item in found if item.get("name")]
    return {INPUTS: json.dumps(named).encode()} if named and len(named) == len(found) else {}


def _native(flavor: str, data: bytes) -> bytes:
    """Return a model in its native format after the library has loaded it; no code in it is run."""
    if flavor == "lightgbm":
        try:
            import lightgbm
        except ModuleNotFoundError as error:
            raise MissingExtra("a LightGBM model", "lightgbm") from error
        return str(lightgbm.Booster(model_str=data.decode()).model_to_string()).encode()
    try:
        import xgboost
    except ModuleNotFoundError as error:
        raise MissingExtra("an XGBoost model", "xgboost") from error
    return bytes(xgboost.Booster(model_file=bytearray(data)).save_raw("ubj"))


def _number(value: float) -> float:
    """Return a metric as it was logged: MLflow's tables hold the largest number instead of infinity."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def _value(text: str) -> Any:
    """Return a parameter as it was before MLflow made a text of it, when that is certain.

    Examples
    --------
    >>> _value("0.10"), _value("12"), _value("True")
    ('0.10', 12, True)
    """
    if text in CONSTANTS:
        return CONSTANTS[text]
    for kind in (int, float):
        try:
            found = kind(text)
        except ValueError:
            continue
        if str(found) == text and math.isfinite(found):
            return found
    return text
