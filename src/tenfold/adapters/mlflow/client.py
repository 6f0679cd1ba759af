"""MLflow's own client, made quiet and impatient, with its errors told as tenfold's."""

import hashlib
import os
import posixpath
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from tenfold.core.errors import MissingExtra, NotFound, SchemaError, TenfoldError, Unavailable

# Its client has no other way to be told. What is set already is left alone.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
NAME = re.compile(r"[/\w.\- ]*")
LONGEST_NAME, LONGEST_PARAM, LONGEST_TAG = 250, 6_000, 8_000
BUSY = {401, 403, 407, 408, 425, 429}
"""Answers below 500 that have nothing to do with what was sent."""

P = ParamSpec("P")
T = TypeVar("T")


def client(url: str) -> Any:
    """Return MLflow's client for a tracking server that is a registry too."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError as error:
        raise MissingExtra("the MLflow bridge", "mlflow") from error
    return MlflowClient(tracking_uri=url, registry_uri=url)


def told(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function raise `Unavailable` when the server does not answer, `SchemaError` when it says no.

    A refusal to know who asks is `Unavailable` too: nothing that is sent could change it.
    """

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except TenfoldError:
            raise
        except Exception as error:
            kind = type(error).__module__.partition(".")[0]
            if kind not in ("mlflow", "requests", "urllib3") and not isinstance(error, OSError):
                raise
            raise _translated(error) from error

    return wrapped


def code(error: Exception) -> str:
    """Return MLflow's name of an error; empty when it is not one of MLflow's."""
    return str(getattr(error, "error_code", ""))


def ask(function: Callable[..., T], *args: Any, **kwargs: Any) -> T | None:
    """Call MLflow; None when it has no such thing."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        if code(error) in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
            return None
        raise


def _translated(error: Exception) -> TenfoldError:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status is None and type(error).__name__ == "RestException":
        status = error.get_http_status_code()  # type: ignore[attr-defined]
    text = " ".join(re.sub(r"//[^/@\s]+@", "//", str(error)).split())[:500]  # without name and password
    if status is not None and 400 <= status < 500 and status not in BUSY:
        return SchemaError(f"MLflow refuses it: {text}")
    if status is None and code(error) not in ("", "INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"):
        return SchemaError(f"MLflow refuses it: {text}")  # its own client refuses before anything is sent
    told = f"MLflow answered with status {status}" if status is not None else "MLflow does not answer"
    return Unavailable(f"{told}: {text}")


def safe(name: str) -> str:
    """Return a name as MLflow takes it for parameters, metrics and tags; two names stay two.

    Examples
    --------
    >>> safe("train.auc")
    'train.auc'
    >>> safe("../auc<b>")
    '_auc_b_ b1fdc074'
    """
    norm = posixpath.normpath(name)
    plain = norm == name and norm != "." and not norm.startswith(("..", "/"))
    if plain and NAME.fullmatch(name) and len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9_. -]", "_", name)[:200].lstrip(". ")
    return f"{readable} {digest}".lstrip()


def cut(text: str, most: int) -> str:
    """Return a text with at most so many characters, and an ellipsis where it was cut."""
    return text if len(text) <= most else text[: most - 1] + "…"


def experiment(mlflow: Any, name: str) -> Any:
    """Return an experiment by name, made when there is none.

    Raises
    ------
    SchemaError
        When it was deleted there.
    """
    found = mlflow.get_experiment_by_name(name)
    if found is None:
        try:
            mlflow.create_experiment(name)
        except Exception as error:
            if code(error) != "RESOURCE_ALREADY_EXISTS":
                raise
        found = mlflow.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        raise SchemaError(
            f'experiment "{name}" was deleted on the MLflow server. Restore it there, or choose another one: '
            "MLflowMirror(url, experiment=NAME)."
        )
    return found


def experiments(mlflow: Any, names: tuple[str, ...]) -> list[Any]:
    """Return experiments by name, all of them without one; NotFound names the nearest."""
    known = {item.name: item for item in pages(mlflow.search_experiments)}
    for name in names:
        if name not in known:
            raise NotFound("experiment", name, known)
    return [known[name] for name in names or known]


def pages(search: Callable[..., Any], **given: Any) -> list[Any]:
    """Return everything a search finds, page by page."""
    found, token = [], None
    while True:
        page = search(**given, page_token=token)
        found += page
        token = page.token
        if not token:
            return found
