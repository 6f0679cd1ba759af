"""Who is answered whatever token there is: by origin, host and path."""

from urllib.parse import unquote

import pytest

from tenfold import Platform
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import DefinitionError
from tenfold.serving.door.hosts import is_known, names_of
from tenfold.serving.door.listening import check_names
from tests.examples import tiny
from tests.unit.asking import asked


@pytest.fixture
def app(tmp_path):
    with tiny.project.open(Platform(home=tmp_path / "home", clock=VirtualClock(tiny.ASK_AT))) as found:
        yield found


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1", 200),
        ("http://evil.example", 403),
        ("http://127.0.0.1:8080", 403),
        ("null", 403),
        ("http://[", 403),
        ("https://api.bank.example", 200),
    ],
)
def test_a_page_of_another_origin_may_not_send(app, origin, status):
    api = app.asgi(hosts=("127.0.0.1", "api.bank.example"))
    assert asked(api, "/events/visits", content=b"[]", origin=origin).status_code == status
    assert asked(api, "/health", "GET", origin=origin).status_code == 200


def test_a_request_names_one_host(app):
    api = app.asgi(hosts=("127.0.0.1",))

    async def twice(scope, receive, send):
        await api(scope | {"headers": [*scope["headers"], (b"host", b"evil.example")]}, receive, send)

    answer = asked(twice, "/health", "GET")
    assert (answer.status_code, answer.json()["error"]["kind"]) == (400, "WrongHost")
    assert asked(api, "/health", "GET").status_code == 200


@pytest.mark.parametrize("host", ["API.Bank.example", "api.bank.example.", "api.bank.example:443"])
def test_a_name_is_known_however_it_is_written(app, host):
    api = app.asgi(hosts=("API.bank.Example.",))
    assert asked(api, "/health", "GET", host=host).status_code == 200
    assert asked(api, "/health", "GET", host="api.bank.example..").status_code == 400
    own = {"host": host, "origin": "https://api.bank.example"}
    assert asked(api, "/events/visits", content=b"[]", **own).status_code == 200
    head = f"POST /predict HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n"
    assert api.state.door.head_of(head.encode()).host == host


@pytest.mark.parametrize(
    "path",
    [
        "//health",
        "/./health",
        "/x/../health",
        "/%68ealth",
        "/health%00",
        "/%2e%2e/health",
        "/health%2f",
        "/health/",
    ],
)
def test_a_path_is_answered_only_as_it_is_written(app, path):
    api = app.asgi()
    raw = path.encode()

    async def as_is(scope, receive, send):  # httpx tidies a path up
        await api(scope | {"path": unquote(path), "raw_path": raw}, receive, send)

    answer = asked(as_is, "/", "GET")
    assert (answer.status_code, answer.json()["error"]["kind"]) == (404, "NotFound")
    assert asked(api, "/health", "GET").status_code == 200


@pytest.mark.parametrize(
    "name",
    ["*.wild.example", "*", "", "https://api.bank.example", "a.example:443", "10.0.0.7:80", "[::1]", "a/b"],
)
def test_a_name_that_no_request_can_have_is_refused(app, name):
    with pytest.raises(DefinitionError) as error:
        app.serve(names=["api.bank.example", name])
    assert str(error.value) == (
        f'--name "{name}" is no name of a host: nobody could ask by it. Write --name api.bank.example, without scheme, port or '
        'path, once for each name; "*" does not stand for names.'
    )


@pytest.mark.parametrize(
    ("name", "host"),
    [("api_1.bank.example.", "API_1.bank.example:443"), ("10.0.0.7", "10.0.0.7:80"), ("::1", "[::1]:80")],
)
def test_a_name_that_is_taken_is_answered_for(name, host):
    check_names([name])
    assert is_known(host, names_of([name]))
