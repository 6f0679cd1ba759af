"""A client of the HTTP service, for programs that wait and for those that await."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from types import TracebackType
from typing import Any
from urllib.parse import quote

import msgspec

from tenfold.core import errors
from tenfold.core.clock import SystemClock
from tenfold.core.errors import MissingExtra, TenfoldError, Unavailable
from tenfold.core.times import retry_after
from tenfold.serving.connections import LOCAL, Each, Response, Together
from tenfold.serving.sending import Call

AWAY = (502, 503, 504)
"""Statuses that say: not there now."""
AGAIN = (429, *AWAY)
"""Statuses that say: not now."""
NO_JSON = object()
"""What stands for an answer that cannot be read."""
LONGEST_SHOWN = 200
"""Characters that are shown of an answer in no form of the service."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds
LONGEST_TOLD = 10.0
"""Seconds that a client waits at most because the service says so."""


class _Calls(ABC):
    """What can be asked; each method returns the answer, or an awaitable of it, as `_ask` does."""

    def __init__(
        self, kind: str, url: str, *, token: str | None = None, timeout: float = 10.0, retries: int = 4
    ) -> None:
        try:
            httpx = import_module("httpx")
        except ModuleNotFoundError as error:
            raise MissingExtra(type(self).__name__, "client") from error
        headers = _authorization(token or os.environ.get("TENFOLD_TOKEN"))
        _check_url(url, httpx)
        _check_patience(timeout, retries)
        self._url, self._retries, self._timeout = url, retries, timeout
        self._lost, self._late = (httpx.TransportError, httpx.DecodingError), httpx.ReadTimeout
        self._slow = httpx.TimeoutException
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
        self._make: Callable[[], Any] = partial(
            getattr(httpx, kind),
            base_url=url,
            headers=headers,
            timeout=timeout,
            limits=limits,
            trust_env=httpx.URL(url).host not in LOCAL,  # a proxy has another machine of that name
            verify=_authorities(httpx),  # which takes longer than the rest: once
        )

    def _made(self) -> Any:
        try:
            return self._make()
        except ImportError as error:  # such as for a proxy of another kind that the environment names
            raise errors.DefinitionError(str(error)) from error

    @abstractmethod
    def _ask(self, call: Call) -> Any: ...

    def predict(self, model: str, row: Mapping[str, Any], *, id: str = "") -> Any:  # noqa: A002 - the wire's word
        """Return the answer for one row as a dict; the same id again returns the answer that was given first."""
        return self._ask(Call("POST", "/predict", {"model": model, "row": row}, id))

    def predict_many(self, model: str, rows: Sequence[Mapping[str, Any]], *, id: str = "") -> Any:  # noqa: A002
        """Return a list with the answer for each of up to 1,000 rows, all as of the same moment."""
        return self._ask(Call("POST", "/predict", {"model": model, "rows": rows}, id))

    def explain(self, model: str, row: Mapping[str, Any]) -> Any:
        """Return the answer for one row with what each feature adds to its score, as a dict; nothing is logged."""
        return self._ask(Call("POST", "/explain", {"model": model, "row": row}))

    def send(self, source: str, events: Sequence[Mapping[str, Any]], *, id: str = "") -> Any:  # noqa: A002
        """Append events and return how many were stored and how many rejected; durable when it returns."""
        return self._ask(Call("POST", f"/events/{quote(source, safe='')}", events, id))

    def health(self) -> Any:
        """Return that the service lives and, where no token is needed or one is sent, which versions answer, as a dict."""
        return self._ask(Call("GET", "/health"))

    def _pauses(self) -> Iterator[float | None]:
        """Yield after each try how many seconds to wait, None when it was the last one."""
        for tried in range(self._retries):
            yield min(FIRST_PAUSE * 2**tried, LONGEST_PAUSE)
        yield None

    def _unreached(self, error: Exception) -> Unavailable:
        said, longer = str(error).rstrip(".") or type(error).__name__, ""
        if isinstance(error, self._slow):
            said, longer = f"none within timeout={self._timeout:g} s", " Give it longer, or fewer rows."
        elif "[SSL" in said:
            longer = _of_tls(said, self._url)
        return Unavailable(
            f"no answer from {self._url}: {said}.{longer} Is the service running? tenfold serve PROJECT.py"
        )


class Client(_Calls):
    """Asks a running service; use it in a `with` statement. Threads may share one.

    A call that gets no answer, or is told that the service is busy, is repeated with pauses that grow from 50 ms to 2 s, or as
    the service says. It carries an id, under which the service keeps its answer, so nothing is predicted or stored twice.

    Parameters
    ----------
    url
        Such as "http://127.0.0.1:8000".
    token
        An API token, when the service asks for one; unless given, that in the environment as TENFOLD_TOKEN.
    timeout
        Seconds to wait for one answer.
    retries
        How often to repeat a call.

    Raises
    ------
    TenfoldError
        What the service said, as if it had been called in this process: SchemaError, NotFound, Conflict, Unavailable.
        Unavailable also when it cannot be reached.

    Examples
    --------
    >>> with Client("http://127.0.0.1:9", retries=0) as client:
    ...     client.health()
    Traceback (most recent call last):
    tenfold.core.errors.Unavailable: no answer from http://127.0.0.1:9: ... Is the service running? tenfold serve PROJECT.py
    """

    def __init__(self, url: str, **settings: Any) -> None:
        super().__init__("Client", url, **settings)
        self._wall = SystemClock()
        self._each = Each(self._made, self._wall, self._timeout, self._late)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; may be called twice."""
        self._each.close()

    def _ask(self, call: Call) -> Any:
        given = call.given()
        for pause in self._pauses():
            try:
                response = self._each.request(given)
            except self._lost as error:
                if pause is None:
                    raise self._unreached(error) from error
            else:
                if response.status_code not in AGAIN or pause is None:
                    return answer(call, response)
                pause = pause_of(response, pause)
            self._wall.sleep(pause)
        return None


class AsyncClient(_Calls):
    """The same for programs that await, with the same parameters and methods.

    `async with AsyncClient(url) as client: answer = await client.predict("fraud", row)`.
    Of calls that are awaited together 32 are under way at a time; the timeout of the others has not begun.
    """

    def __init__(self, url: str, **settings: Any) -> None:
        super().__init__("AsyncClient", url, **settings)
        self._together = Together(self._made, self._timeout, self._late)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; may be called twice."""
        await self._together.close()

    async def _ask(self, call: Call) -> Any:
        import anyio

        given = call.given()
        for pause in self._pauses():
            try:
                response = await self._together.request(given)
            except self._lost as error:
                if pause is None:
                    raise self._unreached(error) from error
            else:
                if response.status_code not in AGAIN or pause is None:
                    return answer(call, response)
                pause = pause_of(response, pause)
            await anyio.sleep(pause)
        return None


def pause_of(response: Response, pause: float) -> float:
    """Return how long to wait: at least as long as the service says, but not for ever."""
    told = retry_after(response.headers.get("retry-after", ""), SystemClock().now())
    return min(max(pause, told), LONGEST_TOLD)


def answer(call: Call, response: Response) -> Any:
    """Return what the caller gets of a response; raise what the service says went wrong, or who else answered."""
    content = _read(response.content)
    if response.status_code >= 400:
        raise _refused(call, response, content)
    if response.status_code >= 300:
        raise _moved(call, response)
    if content is NO_JSON:
        raise TenfoldError(
            f"{_address(response)} answered with something that is not JSON (status {response.status_code}, "
            f"content-type: {response.headers.get('content-type', 'none')}). Is this the address of the service?"
        )
    return content


def _read(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NO_JSON


def _refused(call: Call, response: Response, content: Any) -> TenfoldError:
    """Return the error that an answer tells; in another form than the service's it is of something before it."""
    status = response.status_code
    told = content.get("error") if isinstance(content, dict) else None
    kind, message = (told.get("kind"), told.get("message")) if isinstance(told, dict) else (None, None)
    other = Unavailable if status in AWAY else TenfoldError
    raised: Callable[[str], TenfoldError] = _KINDS.get(kind, other) if isinstance(kind, str) else other
    if isinstance(message, str) and message:
        return raised(message)
    if content is NO_JSON:  # a page, which says no more than its status
        return raised(f"{call.path} was answered with status {status}.")
    said = " ".join(response.text.split())[:LONGEST_SHOWN]
    return raised(f"{call.path} was answered with status {status}: {said}")


def _moved(call: Call, response: Response) -> TenfoldError:
    """Return the error of a redirection; followed, it could lose what is sent or show the token to another."""
    where, to = _address(response), response.headers.get("location")
    told = f"{where} answered with status {response.status_code} and location {to or 'none'}."
    if not to:
        return TenfoldError(f"{told} Is this the address of the service?")
    without = f", without {call.path}" if to.endswith(call.path) else ""
    return TenfoldError(f"{told} Give that address as url{without}.")


def _address(response: Response) -> str:
    return str(response.url)


def _of_tls(said: str, url: str) -> str:
    """Return what to do where a connection could not be encrypted."""
    if "CERTIFICATE" in said:
        return " An authority that is not known here may be named in the environment: SSL_CERT_FILE=PATH."
    return f" A service without a proxy speaks plain HTTP: write {url.replace('https', 'http', 1)}."


def _check_url(url: object, httpx: Any) -> None:
    try:
        known = str(url).startswith(("http://", "https://")) and bool(httpx.URL(str(url)).host)
    except httpx.InvalidURL:
        known = False
    shown = "url" if "@" in str(url) else f"url={url!r}"  # not a password
    if not known:
        raise errors.DefinitionError(
            f'{shown} is no address of a service. Write for example "http://127.0.0.1:8000".'
        )
    given = httpx.URL(str(url))
    if given.userinfo:  # which would be sent instead of a token, and shown in errors
        raise errors.DefinitionError(
            "url holds a user or a password. A service takes a token: Client(url, token=...), or TENFOLD_TOKEN in the environment."
        )
    if given.query or given.fragment:
        raise errors.DefinitionError(f'{shown} has something behind "?" or "#". Write it without.')


def _authorities(httpx: Any) -> Any:
    """Return whose certificates are trusted."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise errors.DefinitionError(
            f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read: {error}."
        ) from error


def _check_patience(timeout: object, retries: object) -> None:
    if not isinstance(timeout, int | float) or not timeout > 0:
        raise errors.DefinitionError(
            f"timeout={timeout!r} is no number of seconds above 0. Write for example timeout=10.0."
        )
    if not isinstance(retries, int) or retries < 0:
        raise errors.DefinitionError(
            f"retries={retries!r} is no whole number from 0 on. Write for example retries=4."
        )


def _authorization(token: str | None) -> dict[str, str]:
    """Return the header that carries a token; a mistake in it is told without showing it."""
    if not token:
        return {}
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise errors.DefinitionError(
            "the token has characters that no token has. Give what tenfold tokens create printed."
        )
    return {"authorization": f"Bearer {token}"}


def _not_found(message: str) -> TenfoldError:
    found = errors.NotFound("name", "", [])
    found.args = (message,)
    return found


_KINDS: Mapping[str, Callable[[str], TenfoldError]] = {
    "SchemaError": errors.SchemaError,
    "NotFound": _not_found,
    "Conflict": errors.Conflict,
    "Unavailable": errors.Unavailable,
}
