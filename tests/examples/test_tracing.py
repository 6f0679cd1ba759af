"""OpenTelemetry traces: a span per request with what it went through, in the caller's trace; off unless it is asked for."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager, suppress

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tenfold.core.clock import SystemClock
from tenfold.core.errors import MissingExtra
from tenfold.serving.http.app import application
from tenfold.serving.seen.tracing import Tracing, from_environment
from tests.examples import tiny
from tests.examples.asked import Asked, opened

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STAGES = ["wait", "features", "model", "log"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder)
    return folder


@contextmanager
def traced(home, *, wait=5.0, ingest=None):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with opened(home) as app:
        services = {"late_order": app.service("late_order")}
        made = application(services, app.project.sources, ingest, wait=wait, tracing=Tracing(provider))
        with closing(Asked(made)) as client:
            yield app, client, exporter


def test_a_request_is_a_span_in_the_callers_trace_and_its_stages_are_its_children(home):
    with traced(home) as (_, client, exporter):
        assert client.post("/predict", json=tiny.order(1), headers={"traceparent": PARENT}).status_code == 200
        *stages, request = exporter.get_finished_spans()
    assert (request.name, request.kind) == ("POST /predict", SpanKind.SERVER)
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
    }
    assert f"{request.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{request.parent.span_id:016x}" == PARENT.split("-")[2]
    assert [stage.name for stage in stages] == STAGES
    for stage, after in zip(stages, [*stages[1:], request], strict=True):
        assert stage.parent.span_id == request.context.span_id
        assert stage.start_time <= stage.end_time <= (after.start_time if after in stages else after.end_time)


def test_every_way_to_ask_is_traced_and_errors_are_marked(home):
    with traced(home) as (_, client, exporter):
        client.post("/invocations", json={"instances": [tiny.order(1), tiny.order(2)]})
        client.get("/nothing")
        names = [span.name for span in exporter.get_finished_spans()]
        assert names == [*STAGES, "POST /invocations", "GET none"]
    with traced(home, wait=0.1) as (app, client, exporter):
        app.ingest("visits", [tiny.visit(1)])
        assert client.post("/predict", json=tiny.order(3)).status_code == 503
        span = exporter.get_finished_spans()[-1]
        assert span.status.status_code is StatusCode.ERROR
        app.process()


def test_it_is_off_unless_an_endpoint_is_set_and_says_what_it_needs(monkeypatch):
    assert from_environment() is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(MissingExtra, match=r'pip install "tenfold\[otel\]"'):
        from_environment()


ASK = """
import sys
from pathlib import Path
from tests.examples import tiny
from tests.examples.asked import asked
with asked(Path(sys.argv[1])) as client:
    print(client.post("/predict", json=tiny.order(7)).status_code)
"""


@pytest.mark.parametrize(
    ("named", "name"),
    [
        ({"OTEL_SERVICE_NAME": "shop"}, "shop"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=bank,team=risk"}, "bank"),
        ({}, "tenfold"),
    ],
)
def test_spans_are_sent_to_the_endpoint_of_the_environment(home, named, name):
    got = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{collector.server_address[1]}"
        env = os.environ | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            **named,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        }
        command = [sys.executable, "-c", ASK, str(home)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        collector.shutdown()
    assert json.loads(done.stdout) == 200, done.stderr
    assert "spans" not in done.stderr
    assert {path for path, _ in got} == {"/v1/traces"}
    resources = [
        item for _, body in got for item in ExportTraceServiceRequest.FromString(body).resource_spans
    ]
    names = {span.name for item in resources for scope in item.scope_spans for span in scope.spans}
    assert names == {*STAGES, "POST /predict"}
    told = {item.key: item.value.string_value for item in resources[0].resource.attributes}
    assert told["service.name"] == name


@pytest.mark.parametrize("status", [302, 307, 304])
def test_a_redirection_takes_no_spans_and_is_not_followed(status):
    got = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("location", "/other")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    done = ended(Elsewhere)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "2 of 2 spans were not sent: no collector took them in time"
    assert set(got) == {"/v1/traces"}


END = """
from tenfold.core.clock import SystemClock
from tenfold.serving.seen.tracing import from_environment
tracer = from_environment().tracer
for name in ("one", "two"):
    tracer.start_span(name).end()
print(SystemClock().now())
"""


def test_of_an_endless_answer_the_beginning_is_read():
    sent, most = [], 256

    class Endless(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", str(10**12))
            self.end_headers()
            with suppress(ConnectionError):
                while len(sent) < most:
                    self.wfile.write(bytes(1 << 20))
                    sent.append(1)

        def log_message(self, *_):
            pass

    done = ended(Endless)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(sent) < most


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_is_asked_for_a_collector_on_this_machine(host):
    got = []

    class Collector(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            got.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    away = {"HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
    done = ended(Collector, host, **away)
    assert (done.returncode, done.stderr) == (0, "")
    assert got == ["/v1/traces"]


def ended(handler, host="127.0.0.1", **env):
    """Return what became of a process that sends two spans to a collector and ends."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        env = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{host}:{collector.server_port}"} | env
        done = subprocess.run(
            [sys.executable, "-c", END], env=env, capture_output=True, text=True, timeout=60
        )
        collector.shutdown()
    return done


@pytest.mark.parametrize("silent", [True, False])
def test_a_process_that_ends_does_not_wait_for_a_collector_that_is_away_and_says_what_is_lost(silent):
    with socket.create_server(("127.0.0.1", 0)) as collector:
        port = collector.getsockname()[1]
        if not silent:
            collector.close()
        env = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        done = subprocess.run(
            [sys.executable, "-c", END], env=env, capture_output=True, text=True, timeout=60
        )
    took = SystemClock().now() - int(done.stdout)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "2 of 2 spans were not sent: no collector took them in time"
    assert took < 4_000_000  # without a bound it is at least 5.6 seconds
