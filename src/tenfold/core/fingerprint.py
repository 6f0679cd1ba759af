"""One content hash for declarations, data and code."""

import hashlib
import json


def fingerprint(*parts: object) -> str:
    """Return 16 hexadecimal digits that depend on every part and on nothing else.

    Parts are made of dicts, lists, tuples, text, numbers, booleans and None.

    Examples
    --------
    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    >>> fingerprint("a", "b") == fingerprint("ab")
    False
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    return repr(value)
