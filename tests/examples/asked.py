"""The small project of `tiny`, asked over HTTP in this process."""

import asyncio
from contextlib import closing, contextmanager

import httpx

from tenfold import Platform
from tenfold.core.clock import VirtualClock
from tests.examples import tiny


class Asked:
    """Asks an application without a server, one request after the other."""

    def __init__(self, app):
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")
        self._loop = asyncio.new_event_loop()

    def get(self, path, **how):
        return self._loop.run_until_complete(self._http.get(path, **how))

    def post(self, path, **how):
        return self._loop.run_until_complete(self._http.post(path, **how))

    def close(self):
        self._loop.run_until_complete(self._http.aclose())
        self._loop.close()


@contextmanager
def opened(home, project=tiny.project):
    """Give the app of a home that `tiny.build` made; its states are current."""
    with project.open(Platform(home=home, clock=VirtualClock(tiny.ASK_AT))) as app:
        yield app


@contextmanager
def asked(home, project=tiny.project, **how):
    """Give a client of it."""
    with opened(home, project) as app, closing(Asked(app.asgi(**how))) as client:
        yield client
