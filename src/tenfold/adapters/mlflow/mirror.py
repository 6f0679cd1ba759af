"""Runs as MLflow runs, versions as registered versions, stages as aliases and tags."""

import html
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from tenfold.adapters.mlflow.client import (
    LONGEST_PARAM,
    LONGEST_TAG,
    ask,
    client,
    code,
    cut,
    experiment,
    pages,
    safe,
    told,
)
from tenfold.adapters.mlflow.layout import MLMODEL, caveat, layout
from tenfold.automation.mirror import Origin, RunCopy, StagesCopy, VersionCopy, curves
from tenfold.core.errors import SchemaError
from tenfold.core.times import iso
from tenfold.registry.versions import Stage, StageEvent

METRICS, PARAMS, TAGS = 1_000, 40, 25
"""How many of each go into one request: MLflow takes no more, and at most a megabyte."""
STATUS = {"running": "RUNNING", "done": "FINISHED", "failed": "FAILED"}
ALIASES = {"champion": Stage.PRODUCTION, "challenger": Stage.STAGING}
KEY, HOME, SEQ, STAGE, LOGGED = (
    f"tenfold.{name}" for name in ("key", "home", "event_seq", "stage", "logged")
)
HISTORY = "Stages, newest first, as tenfold moved them:"
LONGEST_TEXT = 5_000
T = TypeVar("T")


class MLflowMirror:
    """`Mirror` on an MLflow server: its UI shows every run and version, its clients load them.

    Parameters
    ----------
    url
        The tracking server, which is the registry too.
    experiment
        Where the runs go; by default the name of the project.
    prefix
        What the names of registered models begin with, for several homes of one project on one server.

    Examples
    --------
    >>> MLflowMirror("http://me:secret@127.0.0.1:5000").name
    'mlflow http://127.0.0.1:5000'
    """

    def __init__(self, url: str, *, experiment: str | None = None, prefix: str = "") -> None:
        self._url, self._named, self._prefix = url, experiment, prefix
        self._found: Any = None

    @property
    def name(self) -> str:
        parts = urlsplit(self._url)
        place = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        return " ".join(part for part in ("mlflow", place, self._named, self._prefix) if part)

    @cached_property
    def _mlflow(self) -> Any:
        return client(self._url)

    @told
    def positions(self, origin: Origin, models: Sequence[str]) -> Mapping[str, int]:
        self._found = experiment(self._mlflow, self._named or origin.project)
        found = {}
        if _runs(origin) in self._found.tags:
            found["runs"] = int(self._found.tags[_runs(origin)])
        for model in models:
            try:
                registered = ask(self._mlflow.get_registered_model, self._prefix + model)
            except Exception as error:
                if code(error) != "INVALID_PARAMETER_VALUE":
                    raise
                continue  # no name for MLflow: nothing of it is there
            if registered is not None and registered.tags.get(HOME) == origin.home:
                found[f"stages/{model}"] = int(registered.tags.get(SEQ, 0))
        return found

    @told
    def run(self, copy: RunCopy) -> None:
        tags = _run_tags(copy)
        there = self._of_import(copy)
        if there is not None:
            if there.data.tags.get(KEY, copy.key) != copy.key:
                return  # it is another home's, which keeps it current
            kept = {name: value for name, value in tags.items() if name.startswith("tenfold.")}
            self._tag(there.info.run_id, kept)
            return
        shown = self._find(copy) or self._create(copy, tags)
        if copy.run.status == "running":
            return
        run_id = shown.info.run_id
        if LOGGED not in shown.data.tags:
            self._log(shown, copy)
        self._send_files(run_id, copy.files)
        self._tag(run_id, tags)
        self._mlflow.set_terminated(run_id, STATUS[copy.run.status], _ms(copy.run.finished or 0))

    @told
    def version(self, copy: VersionCopy) -> None:
        name = self._prefix + copy.version.model
        self._registered(name, copy)
        tags = _version_tags(copy)
        for shown in self._versions(name):
            if shown.tags.get(KEY) == copy.key or _is_import_of(shown, copy):
                for tag, value in tags.items():
                    self._mlflow.set_model_version_tag(name, shown.version, tag, value)
                return
        run = self._of_import(copy.run) or self._find(copy.run)
        if run is None:
            raise SchemaError(f"run {copy.run.run.id} of {name} is not on the MLflow server.")
        files = layout(copy.files)
        if copy.card:
            files["card.html"] = copy.card.encode()
        self._send_files(run.info.run_id, files, "model")
        if MLMODEL in files:
            self._say_model(run, files)
        self._mlflow.create_model_version(
            name,
            f"{run.info.artifact_uri}/model",
            run.info.run_id,
            tags=tags,
            description=_description(copy),
            await_creation_for=0,
        )

    @told
    def stages(self, copy: StagesCopy) -> None:
        name = self._prefix + copy.model
        registered = ask(self._mlflow.get_registered_model, name)
        if registered is None or registered.tags.get(HOME) != copy.origin.home:
            raise SchemaError(f'model "{name}" on the MLflow server is not shown from here.')
        numbers: dict[int, Any] = {}
        for shown in self._versions(name):
            if shown.tags.get(KEY, "").startswith(f"{copy.origin.home}/"):
                numbers[int(shown.tags["tenfold.version"])] = shown
        for number, stage in copy.stages.items():
            if number in numbers and numbers[number].tags.get(STAGE) != stage.value:
                self._mlflow.set_model_version_tag(name, numbers[number].version, STAGE, stage.value)
        for alias, stage in ALIASES.items():
            at = max((n for n, now in copy.stages.items() if now is stage and n in numbers), default=None)
            self._point(registered, alias, None if at is None else str(numbers[at].version))
        if not registered.description or registered.description.startswith(HISTORY):
            self._mlflow.update_registered_model(name, _history(copy.history))
        self._mlflow.set_registered_model_tag(name, SEQ, str(copy.seq))

    @told
    def settle(self, origin: Origin, runs: int) -> None:
        self._mlflow.set_experiment_tag(self._experiment(origin), _runs(origin), str(runs))

    def _experiment(self, origin: Origin) -> str:
        if self._found is None:
            self._found = experiment(self._mlflow, self._named or origin.project)
        return str(self._found.experiment_id)

    def _find(self, copy: RunCopy) -> Any:
        """Return the run that shows a copy, None when there is none yet.

        Two are there when a request to make one was given up here and done there after all: one of them goes.
        """
        found = self._mlflow.search_runs(
            [self._experiment(copy.origin)], filter_string=f"tags.`{KEY}` = '{copy.key}'", max_results=10
        )
        first, *others = sorted(found, key=lambda run: run.info.run_id) or [None]
        for other in others:
            self._mlflow.delete_run(other.info.run_id)
        return first

    def _of_import(self, copy: RunCopy) -> Any:
        """Return the run that a run was imported from, when it is on this server."""
        known = copy.run.code.get("mlflow_run")
        return None if known is None else ask(self._mlflow.get_run, str(known))

    def _create(self, copy: RunCopy, tags: Mapping[str, str]) -> Any:
        first = {
            KEY: copy.key,
            **{name: value for name, value in tags.items() if name.startswith("tenfold.")},
        }
        place = self._experiment(copy.origin)
        name = cut(f"{copy.run.id} {copy.run.title}".strip(), LONGEST_TAG)
        return self._mlflow.create_run(place, start_time=_ms(copy.run.started), tags=first, run_name=name)

    def _log(self, shown: Any, copy: RunCopy) -> None:
        """Log parameters and metrics; after a crash those points that are not there."""
        from mlflow.entities import Metric, Param, RunTag

        run_id = shown.info.run_id
        there = {
            (name, point.step, point.timestamp)
            for name in shown.data.metrics
            for point in self._mlflow.get_metric_history(run_id, name)
        }
        points = (
            Metric(safe(name), point.value, _ms(point.at), point.step)
            for name, curve in curves(copy).items()
            for point in curve
        )
        new = (point for point in points if (point.key, point.step, point.timestamp) not in there)
        params = [Param(safe(name), _text(value)) for name, value in copy.run.params.items()]
        batches = list(zip_longest(_parts(new, METRICS), _parts(params, PARAMS), fillvalue=())) or [((), ())]
        for place, (some, others) in enumerate(batches, 1):
            done = [RunTag(LOGGED, "true")] if place == len(batches) else []  # MLflow writes tags last
            self._mlflow.log_batch(run_id, some, others, done)

    def _tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        for some in _parts([RunTag(name, value) for name, value in tags.items()], TAGS):
            self._mlflow.log_batch(run_id, tags=some)

    def _send_files(self, run_id: str, files: Mapping[str, bytes], path: str | None = None) -> None:
        if not files:
            return
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder).resolve()
            for name, data in files.items():
                place = (root / name).resolve()
                if not place.is_relative_to(root):
                    raise SchemaError(f'"{name}" cannot be the name of a file of a run.')
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
            self._mlflow.log_artifacts(run_id, folder, path)

    def _say_model(self, run: Any, files: Mapping[str, bytes]) -> None:
        """Tell MLflow's UI that the run made a model."""
        known = json.loads(files[MLMODEL])
        made = iso(run.info.end_time * 1_000 if run.info.end_time else run.info.start_time * 1_000)
        entry = {"run_id": run.info.run_id, "utc_time_created": made[:19].replace("T", " "), **known}
        self._mlflow.set_tag(run.info.run_id, "mlflow.log-model.history", json.dumps([entry]))

    def _registered(self, name: str, copy: VersionCopy) -> Any:
        """Return the registered model, made when missing.

        Raises
        ------
        SchemaError
            When one of this name belongs to somebody else.
        """
        home = copy.origin.home
        found = ask(self._mlflow.get_registered_model, name)
        if found is None:
            try:
                return self._mlflow.create_registered_model(name, tags={HOME: home})
            except Exception as error:
                if code(error) != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self._mlflow.get_registered_model(name)
        owner = found.tags.get(HOME)
        if owner is None and (copy.version.info.get("mlflow") or {}).get("model") == name:
            self._mlflow.set_registered_model_tag(name, HOME, home)
        elif owner != home:
            whose = f"is shown from another home ({owner})" if owner else "was not made from here"
            raise SchemaError(
                f'model "{name}" on the MLflow server {whose}. Give these names a prefix, MLflowMirror(url, prefix="team-"), '
                f'or hand it over: set the tag {HOME} of the registered model to "{home}" there.'
            )
        return found

    def _versions(self, name: str) -> list[Any]:
        quote = '"' if "'" in name else "'"
        return pages(self._mlflow.search_model_versions, filter_string=f"name={quote}{name}{quote}")

    def _point(self, registered: Any, alias: str, number: str | None) -> None:
        now = registered.aliases.get(alias)
        if number is None and now is not None:
            self._mlflow.delete_registered_model_alias(registered.name, alias)
        elif number is not None and str(now) != number:
            self._mlflow.set_registered_model_alias(registered.name, alias, number)


def _runs(origin: Origin) -> str:
    return f"tenfold.runs.{origin.home}"


def _run_tags(copy: RunCopy) -> dict[str, str]:
    run = copy.run
    own = {safe(_not_theirs(name)): value for name, value in copy.details.tags.items()}
    known = {
        KEY: copy.key,
        "tenfold.run": run.id,
        "tenfold.kind": run.kind,
        "tenfold.model": run.subject,
        "tenfold.error": run.error,
        "tenfold.problem": copy.problem,
        "mlflow.source.name": copy.origin.project,
        "mlflow.source.git.commit": run.code.get("git"),
        "mlflow.note.content": "\n\n".join(
            f"{iso(note.at)} {note.by}: {html.escape(note.text, quote=False)}" for note in copy.details.notes
        ),
    }
    known |= {safe(f"tenfold.data.{table}"): str(version) for table, version in run.data.items()}
    named = own | {name: value for name, value in known.items() if value}
    return {name: cut(value.replace("\0", "\ufffd"), LONGEST_TAG) for name, value in named.items()}


def _not_theirs(name: str) -> str:
    """Return a tag's name, so that it cannot pass for one of MLflow's or of this module's."""
    return f"tag.{name}" if name.startswith(("mlflow.", "tenfold.")) else name


def _version_tags(copy: VersionCopy) -> dict[str, str]:
    version = copy.version
    tags = {
        KEY: copy.key,
        "tenfold.version": str(version.number),
        "tenfold.run": version.run_id,
        "tenfold.digest": version.digest,
        "tenfold.problem": copy.problem,
        "tenfold.caveat": caveat(copy.files),
    }
    return {name: value for name, value in tags.items() if value}


def _is_import_of(shown: Any, copy: VersionCopy) -> bool:
    known = copy.version.info.get("mlflow") or {}
    return (known.get("model"), known.get("version"), known.get("run")) == (
        shown.name,
        str(shown.version),
        shown.run_id,
    )


def _description(copy: VersionCopy) -> str:
    info = copy.version.info
    metrics = ", ".join(f"{name} {value}" for name, value in (info.get("metrics") or {}).items())
    told = f"tenfold {copy.version.model} version {copy.version.number}, run {copy.version.run_id}. {metrics}"
    return cut(f"{told} {info.get('period', '')}".strip(), LONGEST_TEXT)


def _history(events: Sequence[StageEvent]) -> str:
    lines = [HISTORY, ""]
    for event in reversed(events):
        move = f"version {event.version}: {event.from_stage} to {event.to_stage}"
        lines.append(f"- {iso(event.at)[:19]} {move}, by {html.escape(event.by)}: {html.escape(event.why)}")
    return cut("\n".join(lines), LONGEST_TEXT)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return cut(text.replace("\0", "\ufffd"), LONGEST_PARAM)


def _ms(us: int) -> int:
    return us // 1_000


def _parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
