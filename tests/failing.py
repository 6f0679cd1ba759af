"""System calls that fail for one thread, and for those that it starts, as those of a disk with errors do."""

import ctypes
import os
import platform
import struct
import threading
from errno import EIO

import pytest

SYNC, WRITE, OPEN = ("fsync", "fdatasync"), ("pwrite64",), ("openat",)
_NUMBERS = {
    "x86_64": {"fsync": 74, "fdatasync": 75, "pwrite64": 18, "openat": 257},
    "aarch64": {"fsync": 82, "fdatasync": 83, "pwrite64": 68, "openat": 56},
}.get(platform.machine(), {})
_LOAD, _EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06
_ARGUMENTS = 16
"""Where they begin, of 8 bytes each."""
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2


TO_WRITE = (2, os.O_ACCMODE, os.O_RDWR)


def on(file):
    """Return which calls are about an open file."""
    return (0, 0xFFFFFFFF, file)


def failing(calls, work, number=EIO, which=None):
    """Return what a function returns or raises in a thread whose system calls of these names fail.

    Parameters
    ----------
    which
        Of which calls only those fail: the place of an argument, the bits of it that are looked at, and what they are.
    """
    if platform.system() != "Linux" or not _NUMBERS:
        pytest.skip("system calls are made to fail on Linux only")
    found = []

    def run():
        try:
            _forbid(calls, number, which)
            found.append(work())
        except Exception as error:  # noqa: BLE001 - it is what is looked at
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def _forbid(calls, number, which):
    """Have system calls fail for this thread, for good."""
    steps = [(_LOAD, 0, 0, 0)]
    steps += [(_EQUAL, len(calls) - place, 0, _NUMBERS[name]) for place, name in enumerate(calls)]
    steps += [(_RETURN, 0, 0, _ALLOW)]
    if which is not None:
        place, bits, value = which
        steps += [(_LOAD, 0, 0, _ARGUMENTS + 8 * place), (_AND, 0, 0, bits)]
        steps += [(_EQUAL, 1, 0, value), (_RETURN, 0, 0, _ALLOW)]
    steps += [(_RETURN, 0, 0, _FAIL | number)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.c_void_p(ctypes.addressof(program))
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SECCOMP, _FILTER, address, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
