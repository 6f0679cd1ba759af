"""OpenTelemetry traces: a span per request, and in it what it waited for. Off, and free, unless an endpoint is set."""

import os
from collections.abc import Iterable
from contextlib import closing, suppress
from importlib.metadata import version
from io import BytesIO
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenfold.core.clock import SystemClock
from tenfold.core.errors import MissingExtra
from tenfold.serving.connections import LOCAL
from tenfold.serving.seen.requests import route_of

if TYPE_CHECKING:
    import requests
    from opentelemetry.trace import Tracer, TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Environment variables of which one says where spans are sent; OpenTelemetry's other variables count too."""
UNNAMED = "unknown_service"
"""How OpenTelemetry calls what no variable gives a name to."""
READ = 4_096
"""Bytes of a collector's answer that are read."""
Stage = tuple[str, int, int]
"""What a request went through, from and to when in microseconds UTC."""


class Stages:
    """Notes when the stages of a group of requests ended, for those of them that are traced; else it does nothing.

    Examples
    --------
    >>> notes: list[Stage] = []
    >>> stages = Stages([notes])
    >>> stages.ended("features")
    >>> [name for name, begun, ended in notes if begun <= ended]
    ['features']
    """

    def __init__(self, notes: Iterable[list[Stage] | None]) -> None:
        self._notes = [one for one in notes if one is not None]
        self._since = SystemClock().now() if self._notes else 0

    def ended(self, name: str) -> None:
        """Note that a stage ended, and that the next one begins."""
        if self._notes:
            begun, self._since = self._since, SystemClock().now()
            for one in self._notes:
                one.append((name, begun, self._since))


class Tracing:
    """Makes spans.

    Parameters
    ----------
    provider
        Where spans go to, as OpenTelemetry's SDK makes it.
    """

    def __init__(self, provider: "TracerProvider") -> None:
        self.tracer: Tracer = provider.get_tracer("tenfold", version("tenfold"))

    def stages(self, since: int, noted: list[Stage]) -> None:
        """Make spans in the present one: the wait from an instant to the first stage, and the stages."""
        first = [("wait", since, max(since, noted[0][1]))] if noted else []
        for name, begun, ended in (*first, *noted):
            self.tracer.start_span(name, start_time=begun * 1_000).end(ended * 1_000)


def from_environment() -> Tracing | None:
    """Return what sends spans to the endpoint that the environment names; None when it names none."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider

        from tenfold.serving.seen.spans import Spans
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{' or '.join(ENDPOINTS)} is set, and sending traces", "otel") from error
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, UNNAMED)).startswith(UNNAMED):
        resource = resource.merge(Resource({SERVICE_NAME: "tenfold"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(Spans(OTLPSpanExporter(session=_session())))
    return Tracing(provider)


def _session() -> "requests.Session":
    """Return what spans are sent by: a redirection is neither followed nor taken for an answer, of which the beginning is read."""
    import requests
    from urllib3.exceptions import HTTPError

    def taken(response: requests.Response, **_: Any) -> requests.Response:
        with closing(response.raw) as raw:
            response.raw = BytesIO()
            with suppress(HTTPError):  # the status says it all
                response.raw = BytesIO(raw.read(READ, decode_content=False))
        if response.is_redirect or 300 <= response.status_code < 400:
            raise requests.ConnectionError(f"the collector answered with status {response.status_code}")
        return response

    session = requests.Session()
    session.proxies = {f"{scheme}://{host}": "" for scheme in ("http", "https") for host in LOCAL}
    session.hooks["response"].append(taken)
    return session


class Traced:
    """Makes a span of every request, in the trace that its `traceparent` names."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._app, self._tracer = app, tracing.tracer
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = self._propagator.extract(dict(Headers(scope=scope)))
        kind: Any = SpanKind.SERVER
        with self._tracer.start_as_current_span(scope["method"], context=context, kind=kind) as span:

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            span.set_attribute("http.request.method", scope["method"])
            await self._app(scope, receive, told)
            route = route_of(scope)
            span.set_attribute("http.route", route)
            span.update_name(f"{scope['method']} {route}")
