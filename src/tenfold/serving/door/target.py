"""What a request line asks for when it names a host beside the path, as what is sent to a proxy does."""

import httptools

Headers = list[tuple[bytes, bytes]]


def origin_form(target: bytes, headers: Headers) -> tuple[bytes, Headers]:
    """Return a target without its host, and the headers with that as their Host: theirs does not count (RFC 9112, 3.2.2).

    Examples
    --------
    >>> origin_form(b"http://localhost@evil.example:80/health?x=1", [(b"host", b"localhost")])
    (b'/health?x=1', [(b'host', b'evil.example:80')])
    >>> origin_form(b"/health", [(b"host", b"localhost")])
    (b'/health', [(b'host', b'localhost')])
    """
    url = httptools.parse_url(target)
    if not url.host:
        return target, headers
    host = b"[%b]" % url.host if b":" in url.host else url.host
    if url.port is not None:
        host += b":%d" % url.port
    others = [header for header in headers if header[0] != b"host"]
    several = max(len(headers) - len(others), 1)  # which is refused as it is of any other target
    path = (url.path or b"/") + (b"" if url.query is None else b"?" + url.query)
    return path, [*others, *[(b"host", host)] * several]
