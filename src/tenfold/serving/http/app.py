"""HTTP: rows in, predictions out, events in. The only place that is asynchronous.

    POST /predict                 {"model": ..., "row": {...}}, or the row itself when there is one model; with "rows" and a
                                  list, the answers are a list too
    POST /explain                 the same of one row, not logged, and what each feature adds to its score
    POST /events/{source}         one event or a list of them
    GET  /health                  whether the process lives; to who has a token where one is needed, which versions answer too
    GET  /ready                   whether it should be sent requests; to who has a token, why not
    GET  /metrics                 what Prometheus collects
    GET  /openapi.json            all of it, made from the declaration

MLflow's scoring protocol and the Open Inference Protocol are answered too: see `invocations` and `inference`.

A POST carries JSON with `content-type: application/json`; without that header a web page could send it. The header
`idempotency-key` makes it safe to repeat.

Every error is {"error": {"kind", "message"}} with a status that says who must act; no stack trace leaves the server.
An events call of which no row fits is answered 422, with the counts beside the error.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from tenfold.core.clock import SystemClock
from tenfold.core.errors import DefinitionError, NotFound, SchemaError
from tenfold.processing.ingest import Call
from tenfold.serving.answer.answering import Answering
from tenfold.serving.answer.service import Service
from tenfold.serving.door.gate import Gate, Gated
from tenfold.serving.door.hosts import KnownHosts
from tenfold.serving.door.ready import Ready
from tenfold.serving.door.web import (
    INGEST,
    Scoped,
    TooLarge,
    as_json,
    content,
    failed,
    guarded,
    in_form,
    key_of,
)
from tenfold.serving.http import explaining, inference, invocations, metrics, openapi, predicting, probes
from tenfold.serving.http.intake import Ingest, Intake
from tenfold.serving.http.plain import Door
from tenfold.serving.seen.requests import Counted
from tenfold.serving.seen.tracing import Traced, Tracing, from_environment
from tenfold.sources.declare import Events

MAX_EVENTS = 10_000_000
MAX_ROWS = 100_000
SHORTEST, LONGEST = 0.1, 3_600.0
"""Seconds that a request may wait: in less, one that came behind another would be refused for no other reason."""
_PART = re.compile(r"\{(\w+)(:\w+)?\}")
"""The part of a path that a request fills in."""


def application(
    services: Mapping[str, Service],
    sources: Mapping[str, Events],
    ingest: Ingest,
    *,
    wait: float,
    hosts: Sequence[str] = (),
    gate: Gate | None = None,
    tracing: Tracing | None = None,
    downstream: metrics.Downstream = tuple,
    store: Callable[[], object] = bool,
) -> Starlette:
    """Return the ASGI application over services by model name.

    Parameters
    ----------
    wait
        Seconds a request waits for the worker to reach the newest acknowledged event, and events wait to be stored, before
        they get status 503: at least 0.1. Where states are there, nobody waits for them.
    hosts
        The Host names that are answered; all when empty. A server on this machine alone takes LOCAL, so that no web page
        can reach it under a name of its own.
    gate
        Decides who may pass; without one everybody may.
    tracing
        Makes spans of requests; what the environment says unless given, which may be none.
    downstream
        Tells for `/metrics` what waits for the places that answers are sent to.
    store
        Raises for `/ready` what keeps answers and events from being stored.

    Raises
    ------
    DefinitionError
        When `wait` is not such a number of seconds.
    """
    if not SHORTEST <= wait <= LONGEST:  # which is said of what is no number too
        raise DefinitionError(
            f"wait={wait} is not between {SHORTEST} and {LONGEST:,.0f} seconds. Write wait={SHORTEST} to have requests refused "
            "as soon as the states lag; those that find them there do not wait."
        )
    tracing = tracing or from_environment()
    models = {name: Answering(service, wait=wait, tracing=tracing) for name, service in services.items()}
    declared = {name: service.model for name, service in services.items()}
    traffic = next((service.traffic for service in services.values()), None)
    intake = Intake(ingest, wait=wait)

    async def events(request: Request) -> Response:
        name = request.path_params["source"]
        if name not in sources:
            raise NotFound("source", name[:100], sources)
        rows = await content(request, MAX_EVENTS)
        if isinstance(rows, dict) and list(rows) == ["rows"] and "rows" not in sources[name].fields:
            raise SchemaError(
                'the body is an object with the field "rows". Send a list of rows: [{...}, ...], or one row.'
            )
        rows = rows if isinstance(rows, list) else [rows]
        if len(rows) > MAX_ROWS:
            raise TooLarge(
                f"the body has {len(rows):,} rows, more than {MAX_ROWS:,}. Send fewer rows at a time."
            )
        done = await intake.store(Call(sources[name], rows, key_of(request)))
        answer = {"stored": done.stored, "rejected": done.rejected, "message": done.message}
        if done.rejected and not done.stored:
            return as_json(422, {**answer, "error": {"kind": "SchemaError", "message": done.message}})
        return as_json(200, answer)

    ready = Ready(services, SystemClock(), wait=wait, store=store)
    app = Starlette(
        routes=[
            *predicting.routes(models),
            *explaining.routes(models),
            *invocations.routes(models),
            *inference.routes(models, ready.reason),
            *metrics.routes(models, traffic, downstream),
            *openapi.routes(declared, sources, lambda: app.routes),
            Scoped("/events/{source}", guarded(events), methods=["POST"], needs=INGEST),
            *probes.routes(services, ready, gate),
        ],
        middleware=[
            *([] if tracing is None else [Middleware(Traced, tracing=tracing)]),
            *([] if traffic is None else [Middleware(Counted, requests=traffic.requests)]),
            Middleware(KnownHosts, hosts=hosts),
            *([] if gate is None else [Middleware(Gated, gate=gate)]),
        ],
        exception_handlers={HTTPException: _unrouted},
    )
    app.router.redirect_slashes = False
    app.state.ready = ready
    # a span is made around the application
    app.state.door = Door(models, hosts, gate, traffic.requests) if traffic and not tracing else None
    return app


async def _unrouted(request: Request, error: Exception) -> Response:
    """Answer what no route takes: an unknown path, a wrong method."""
    path = request.url.path[:100]
    allowed = (getattr(error, "headers", None) or {}).get("Allow")
    if allowed is None:
        known = [_PART.sub(lambda part: part[1].upper(), route.path) for route in request.app.routes]
        found = failed(404, "NotFound", str(NotFound("path", path, known)))
    else:
        message = f"{request.method} {path} is not answered. Use {allowed}."
        found = failed(405, "WrongMethod", message, {"Allow": allowed})
    return in_form(found, path)
