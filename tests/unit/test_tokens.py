"""Tokens: what is stored of them, who may pass with them, how often, and what a client does with one."""

import asyncio
import json
import os
import socket
import threading
from contextlib import closing
from functools import partial

import pytest
from starlette.routing import Route

from tenfold import AsyncClient, Client, Platform
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import Conflict, DefinitionError, NotFound, Unavailable
from tenfold.processing.ingest import ingest_all
from tenfold.serving.door.gate import Gate, needed, routed
from tenfold.serving.door.limits import Limits
from tenfold.serving.door.tokens import SCHEMA, SCOPES, Tokens, found
from tenfold.serving.door.web import ADMIN, OPEN
from tenfold.serving.http.app import application
from tenfold.sources.sqlite import SQLiteDatabase
from tests import states
from tests.examples import tiny
from tests.unit.asking import asked
from tests.unit.cli_project import ask, run
from tests.unit.ticking import Ticking

DAY = 86_400_000_000
NOW = 1_700_000_000_000_000


@pytest.fixture
def clock():
    return VirtualClock(NOW)


@pytest.fixture
def app(tmp_path, clock):
    with tiny.project.open(Platform(home=tmp_path / "home", clock=clock)) as found:
        yield found


def filled(path):
    """Return a route's path as a request has it."""
    return path.replace("{source}", "visits").replace("{", "").replace("}", "")


def test_every_route_asks_for_a_token_of_its_scope(app, clock):
    secrets = {scope: app.tokens.create(scope, [scope]) for scope in SCOPES}
    expired = app.tokens.create("expired", SCOPES, expires=NOW + 1)
    revoked = app.tokens.create("revoked", SCOPES)
    app.tokens.revoke("revoked")
    clock.set(NOW + 1)
    api = app.asgi()
    wrong = secrets["predict"][:-1] + ("A" if secrets["predict"][-1] != "A" else "B")
    for route in api.routes:
        assert getattr(route, "needs", None) in (OPEN, *SCOPES), (
            f"{route.path} does not say which scope it needs"
        )
        for method in sorted(route.methods - {"HEAD"}):
            path = filled(route.path)
            scope = {"type": "http", "path": path, "method": method, "root_path": ""}
            assert routed(api.routes, scope) is route, f"another route answers {method} {path}"
            needs = needed(route)
            refused = {None: 401, "": 401, wrong: 401, "x" * 5_000: 401, expired: 401, revoked: 401}
            refused |= {secret: 403 for scope, secret in secrets.items() if scope != needs}
            for token, status in refused.items():
                answer = asked(api, path, method, token=token)
                if needs == OPEN:
                    assert answer.status_code not in (401, 403), (method, path, token)
                    continue
                assert answer.status_code == status, (method, path, token)
                assert answer.headers["www-authenticate"].startswith('Bearer realm="tenfold"')
                assert not any(secret in answer.text for secret in [*secrets.values(), expired, revoked])
            if needs != OPEN:
                assert asked(api, path, method, token=secrets[needs]).status_code not in (401, 403)


def test_a_route_that_does_not_say_what_it_needs_is_for_who_may_all():
    forgotten = Route("/forgotten", lambda _: None)
    assert needed(forgotten) == ADMIN


def test_what_no_route_takes_is_told_only_to_who_has_a_token(app):
    secret = app.tokens.create("shop", ["predict"])
    api = app.asgi()
    assert asked(api, "/nothing").status_code == 401
    assert asked(api, "/nothing", token=secret).status_code == 404
    assert asked(api, "/predict", "DELETE", token=secret).status_code == 405
    assert asked(api, "/predict", "DELETE").status_code == 401
    twice = asked(api, "/nothing", token=secret, Authorization=f"Bearer {secret}")
    assert twice.status_code == 401, "two tokens are none"
    assert asked(api, "/nothing", authorization=f"Basic {secret}").status_code == 401
    assert asked(api, "/nothing", authorization=f"bearer  {secret} ").status_code == 404


def test_messages_say_what_to_do(app, clock):
    api = app.asgi(always=True)
    assert asked(api, "/predict").json()["error"] == {
        "kind": "Unauthorized",
        "message": 'this server answers only with a token. Send the header "authorization: Bearer TOKEN". To make a token: '
        "tenfold tokens create PROJECT.py NAME --scope SCOPE",
    }
    secret = app.tokens.create("shop", ["ingest"], expires=NOW + DAY)
    assert asked(api, "/predict", token=secret).json()["error"] == {
        "kind": "Forbidden",
        "message": 'token "shop" is for ingest; POST /predict needs one with the scope predict.',
    }
    clock.set(NOW + DAY)
    answer = asked(api, "/events/visits", token=secret)
    assert (
        answer.json()["error"]["message"]
        == 'token "shop" expired at 2023-11-15T22:13:20+00:00. Ask for a new one.'
    )
    assert answer.headers["www-authenticate"] == 'Bearer realm="tenfold", error="invalid_token"'


@pytest.mark.parametrize("path", ["/v2", "/v2/models/late_order/infer", "/v2/nothing"])
def test_where_the_protocol_has_a_text_for_an_error_it_is_one_at_the_door_too(app, path):
    secret, other = (app.tokens.create(scope, [scope]) for scope in ("predict", "ingest"))
    api = app.asgi(hosts=("127.0.0.1",), rate="1/h")
    unknown = asked(api, path, "GET")
    assert unknown.status_code == 401
    assert unknown.json()["error"].startswith("this server answers only with a token.")
    assert unknown.headers["www-authenticate"] == 'Bearer realm="tenfold"'
    assert unknown.headers["content-type"] == "application/json"
    found = [
        asked(api, path, "DELETE", token=secret),
        asked(api, path, token=secret),
        asked(api, path, host="evil.example"),
        asked(api, path, origin="http://evil.example"),
    ]
    wrong = 404 if path == "/v2/nothing" else 405
    assert [answer.status_code for answer in found] == [wrong, 429, 400, 403]
    assert [type(answer.json()["error"]) for answer in found] == [str] * 4
    assert found[1].headers["retry-after"] == "3600"
    assert asked(api, "/v2x", token=other).json()["error"]["kind"] == "NotFound"


def test_without_tokens_everybody_may_ask_and_the_first_one_changes_that_while_the_server_runs(app):
    api = app.asgi()
    assert asked(api, "/events/visits", content=b"[]").status_code == 200
    secret = app.tokens.create("shop", ["ingest"])
    assert asked(api, "/events/visits", content=b"[]").status_code == 401
    assert asked(api, "/events/visits", content=b"[]", token=secret).status_code == 200
    app.tokens.revoke("shop")
    assert asked(api, "/events/visits", content=b"[]", token=secret).status_code == 401
    assert asked(api, "/events/visits", content=b"[]").status_code == 401, "a revoked token is one too"
    app.tokens.forget("shop")
    assert asked(api, "/events/visits", content=b"[]").status_code == 200


def test_an_address_that_others_reach_is_not_served_without_a_token(app):
    with pytest.raises(DefinitionError) as error:
        app.serve(host="0.0.0.0", port=1)
    assert str(error.value) == (
        "everybody who reaches 0.0.0.0 could ask, because this home has no token. Make one first: tenfold tokens create "
        "PROJECT.py NAME --scope predict. Or serve this machine alone: --host 127.0.0.1."
    )


def test_only_a_hash_is_stored_and_secrets_differ(tmp_path, clock):
    with closing(SQLiteDatabase(tmp_path / "state.db", SCHEMA)) as database:
        tokens = Tokens(database, clock)
        secrets = [tokens.create(f"t{place}", ["predict"]) for place in range(50)]
        assert len({secret.split("_", 2)[2] for secret in secrets}) == 50
        assert all(len(secret.split("_", 2)[2]) == 43 for secret in secrets)
        known = {token.id: token for token in tokens.list()}
        assert [found(known, secret).name for secret in secrets] == [f"t{place}" for place in range(50)]
        mixed = secrets[0].rsplit("_", 1)[0] + "_" + secrets[1].split("_", 2)[2]
        assert found(known, mixed) is None
        assert len({token.salt for token in known.values()}) == 50
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(secret.split("_", 2)[2].encode() in kept for secret in secrets)


def test_a_name_is_given_again_only_when_its_token_is_not_valid(address, clock):
    with closing(states.opened(address, SCHEMA)) as database:
        tokens = Tokens(database, clock)
        first = tokens.create("shop", ["predict"], expires=NOW + 5)
        with pytest.raises(Conflict, match='there is a valid token "shop"'):
            tokens.create("shop", ["ingest"])
        clock.set(NOW + 5)
        second = tokens.create("shop", ["ingest", "predict"])
        known = {token.id: token for token in tokens.list()}
        assert found(known, first) is None
        assert found(known, second).scopes == ("predict", "ingest")
        with pytest.raises(NotFound, match='Did you mean "shop"'):
            tokens.revoke("shpo")
        with pytest.raises(DefinitionError, match='Did you mean "predict"'):
            tokens.create("other", ["predct"])
        tokens.use({known[second.split("_")[1]].id: NOW + 7})
        tokens.revoke("shop")
        (last,) = tokens.list()
        assert (last.used, last.revoked, last.state(NOW)) == (NOW + 7, NOW + 5, "revoked")
        tokens.forget("shop")
        assert tokens.list() == []


def settled():
    """Wait until no use of a token is to be stored any more: that begins at once, counts are stored seconds later."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer) and not thread.interval:
            thread.join()


def test_when_a_token_was_used_is_stored_once_a_minute(app, clock):
    secret = app.tokens.create("shop", ["ingest"])
    api = app.asgi()

    def use(at):
        clock.set(at)
        assert asked(api, "/events/visits", content=b"[]", token=secret).status_code == 200
        settled()
        return app.tokens.list()[0].used

    assert [use(NOW), use(NOW + 30_000_000), use(NOW + 60_000_000)] == [NOW, NOW, NOW + 60_000_000]


def test_a_use_that_cannot_be_stored_fails_nobody(app, monkeypatch, caplog):
    secret = app.tokens.create("shop", ["ingest"])
    api = app.asgi()

    def full(seen):
        raise OSError("no space left on device")

    monkeypatch.setattr(Tokens, "use", lambda self, seen: full(seen))
    assert asked(api, "/events/visits", content=b"[]", token=secret).status_code == 200
    settled()
    assert "the use of tokens: not stored" in caplog.text
    assert "no space left on device" in caplog.text
    assert secret not in caplog.text


def test_a_token_asks_as_often_as_its_rate_allows_in_all_processes_together(app, tmp_path):
    secret = app.tokens.create("shop", ["ingest"], rate="3/m")
    clock = Ticking()
    apis = []
    for _ in range(2):  # as two processes have it: buckets in one file
        gate = Gate(app.database, app.tokens, Limits(tmp_path / "limits", clock), app.clock)
        apis.append(with_gate(app, gate))
    statuses = [asked(api, "/events/visits", content=b"[]", token=secret).status_code for api in apis * 3]
    assert statuses == [200, 200, 200, 429, 429, 429]
    clock.at += 19_000_000
    late = asked(apis[0], "/events/visits", content=b"[]", token=secret)
    assert (late.status_code, late.headers["retry-after"]) == (429, "1")
    assert late.json()["error"]["kind"] == "TooOften"
    clock.at += 1_000_000
    assert asked(apis[1], "/events/visits", content=b"[]", token=secret).status_code == 200
    assert asked(apis[0], "/events/visits", content=b"[]", token=secret).status_code == 429


def with_gate(app, gate):
    ingest = partial(ingest_all, log=app.log, quarantine=app.quarantine, clock=app.clock)
    return application({}, app.project.sources, ingest, wait=1, gate=gate)


@pytest.mark.parametrize("scope", SCOPES)
def test_what_is_served_and_why_not_is_told_to_who_has_a_token(app, clock, scope):
    api = app.asgi()
    api.state.ready.ending = True
    models = {"late_order": None}
    assert asked(api, "/health", "GET").json() == {"status": "ok", "models": models}
    assert why(api) == "the server is shutting down."
    secret = app.tokens.create("shop", [scope], expires=NOW + 3_600_000_000)
    assert asked(api, "/health", "GET").json() == {"status": "ok"}
    assert asked(api, "/health", "GET", token=secret + "x").json() == {"status": "ok"}
    assert asked(api, "/health", "GET", token=secret).json() == {"status": "ok", "models": models}
    assert why(api) == "the server should be sent no requests now. Ask with a token to be told why."
    assert why(api, token=secret) == "the server is shutting down."
    clock.set(NOW + 7_200_000_000)
    assert asked(api, "/health", "GET", token=secret).json() == {"status": "ok"}


def plainly(api, row=b"{}"):
    """Return status and answer of a request by the shortest way."""

    class Client:
        client = "127.0.0.1", 1

        def tell(self, status, headers, body):
            told.set_result((status, body))

    async def send():
        nonlocal told
        told = asyncio.get_running_loop().create_future()
        head = b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        data = head % len(row) + row
        door.ask(Client(), door.head_of(data), row)
        return await asyncio.wait_for(told, 5)

    told, door = None, api.state.door
    return asyncio.run(send())


def test_while_tokens_cannot_be_read_all_are_told_so_and_nobody_passes(app, monkeypatch):
    app.tokens.create("shop", ["predict"])
    api = app.asgi()

    def away(_):
        raise Unavailable("the database is away. It is safe to retry.")

    monkeypatch.setattr(app.tokens, "list", away)
    for _ in range(2):
        assert plainly(api)[0] == 503
        answer = asked(api, "/predict")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"]["kind"] == "Unavailable"
        assert asked(api, "/health", "GET").json() == {"status": "ok"}
    monkeypatch.setattr(app.tokens, "list", lambda _: 1 // 0)
    assert plainly(api)[0] == asked(api, "/predict").status_code == 500
    monkeypatch.undo()
    assert plainly(api)[0] == asked(api, "/predict").status_code == 401


def why(api, **given):
    return asked(api, "/ready", "GET", **given).json()["error"]["message"]


def test_without_tokens_each_address_has_the_rate_of_the_server(app):
    api = app.asgi(rate="2/d")
    told = [asked(api, "/events/visits", content=b"[]", client="192.0.2.1").status_code for _ in range(3)]
    assert told == [200, 200, 429]
    assert asked(api, "/events/visits", content=b"[]", client="192.0.2.2").status_code == 200
    assert asked(api, "/health", "GET", client="192.0.2.1").status_code == 200
    networks = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"]
    told = [asked(api, "/events/visits", content=b"[]", client=name).status_code for name in networks]
    assert told == [200, 200, 429, 200]


def test_a_client_sends_its_token_and_never_tells_it(monkeypatch):
    heads = []

    class Silent(threading.Thread):
        def __init__(self, listening):
            super().__init__(daemon=True)
            self.listening = listening

        def run(self):
            for _ in range(2):
                with self.listening.accept()[0] as connection:
                    heads.append(connection.recv(65_536).decode())
                    connection.sendall(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        Silent(listening).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setenv("TENFOLD_TOKEN", "tenfold_0_fromenv")
        with Client(url) as client, pytest.raises(Exception, match="status 401") as error:
            client.health()
        assert "authorization: Bearer tenfold_0_fromenv\r\n" in heads[0]
        assert "fromenv" not in str(error.value)

        async def awaiting():
            async with AsyncClient(url, token="tenfold_0_given\n") as client:
                await client.health()

        with pytest.raises(Exception, match="status 401"):
            asyncio.run(awaiting())
        assert "authorization: Bearer tenfold_0_given\r\n" in heads[1]
    for wrong in ("secret\r\nx: y", "secret secret", "sécret"):
        with pytest.raises(DefinitionError) as told:
            Client(url, token=wrong)
        assert "cret" not in str(told.value)


def test_the_commands(tmp_path):
    made = ask(
        tmp_path, "tokens create", "shop", "--scope", "ingest", "--scope", "predict", "--expires", "90d"
    )
    assert made["scopes"] == ["ingest", "predict"]
    listed = run(tmp_path, "tokens list")
    assert "shop" in listed.stdout
    assert "valid" in listed.stdout
    assert made["secret"] not in listed.stdout
    (token,) = ask(tmp_path, "tokens list")["tokens"]
    assert (token["name"], token["scopes"], token["state"]) == ("shop", ["predict", "ingest"], "valid")
    assert (token["used"], token["revoked"]) == (None, None)
    assert made["secret"] not in json.dumps(token)
    again = run(tmp_path, "tokens create", "shop", "--scope", "admin")
    assert again.exit_code == 5
    assert ask(tmp_path, "tokens revoke", "shop", "--by", "ann", "--why", "lost")["state"] == "revoked"
    decisions = ask(tmp_path, "audit")["decisions"]
    assert [(item["decision"], item["by"], item["why"]) for item in decisions] == [
        ("created", os.environ.get("USER", "user"), "for ingest, predict"),
        ("revoked", "ann", "lost"),
    ]
    text = run(tmp_path, "tokens create", "other", "--scope", "admin", "--rate", "5/s")
    assert text.stdout.startswith("tenfold_")
    assert len(text.stdout.splitlines()) == 1
    assert run(tmp_path, "tokens create", "third", "--scope", "admin", "--rate", "5").exit_code == 2
    assert run(tmp_path, "tokens create", "third", "--scope", "admin", "--expires", "soon").exit_code == 2
    assert run(tmp_path, "tokens create", "third").exit_code == 2
    assert run(tmp_path, "tokens revoke", "othr").exit_code == 3
