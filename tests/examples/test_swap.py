"""A version is changed while a server process answers: no request fails, and who asks afterwards is answered by the other one."""

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor

from tenfold import Platform
from tenfold.core.clock import SharedClock, VirtualClock
from tests.examples import tiny
from tests.examples.served import serving

CLIENTS = 4


def ask(port, client, rolled, enough):
    """Ask until there are enough answers after the rollback; return (begun after it, status, version) of each request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    found = []
    while sum(after for after, _, _ in found) < enough:
        after = rolled.is_set()
        body = json.dumps(tiny.order(f"{client}-{len(found)}"))
        connection.request("POST", "/predict", body, {"content-type": "application/json"})
        response = connection.getresponse()
        found.append((after, response.status, json.loads(response.read()).get("version")))
    connection.close()
    return found


def test_a_rollback_under_load_fails_no_request(tmp_path):
    tiny.build(tmp_path)
    with tiny.project.open(Platform(home=tmp_path, clock=VirtualClock(tiny.ASK_AT))) as app:
        app.promote(tiny.late_order, app.train(tiny.late_order).number)
    rolled = threading.Event()
    clock = SharedClock(tmp_path / "clock")
    with (
        serving(tmp_path, tiny) as port,
        tiny.project.open(Platform(home=tmp_path, clock=clock)) as app,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        asking = [pool.submit(ask, port, client, rolled, enough=20) for client in range(CLIENTS)]
        try:
            app.rollback(tiny.late_order)
        finally:
            rolled.set()
        found = [one for each in asking for one in each.result()]
    assert {status for _, status, _ in found} == {200}
    assert {version for after, _, version in found if after} == {1}
    assert {version for after, _, version in found if not after} <= {1, 2}
