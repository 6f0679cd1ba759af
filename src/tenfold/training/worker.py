"""A process that judges settings on folds: `python -m tenfold.training.worker`, told what to do by the one that started it.

A process of its own, not a fork: OpenMP's threads do not survive a fork, and a child that waits for them never ends. Nor
does it import the main module again, as a spawned one would, so a script needs no guard. It ends when its stdin does,
which is when the process that started it is gone, however that died.
"""

import os
import pickle
import struct
import sys
from typing import Any, BinaryIO

import numpy as np

from tenfold.training.trials import judge

SIZE = struct.Struct("<Q")


def send(stream: BinaryIO, message: Any) -> None:
    """Write one message."""
    data = pickle.dumps(message)
    stream.write(SIZE.pack(len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read one message, EOFError when the other side is gone.

    It is a pickle: both sides are processes of one user over an anonymous pipe, and nothing of it is stored.
    """
    head = stream.read(SIZE.size)
    if len(head) < SIZE.size:
        raise EOFError
    (size,) = SIZE.unpack(head)
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)  # noqa: S301 - from our own parent, see above


def main() -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an estimator prints is not an answer
    questions = sys.stdin.buffer
    try:
        path, fd, shape = receive(questions)
        sys.path[:] = path  # only now: a project may have a file of the name of one of Python's own
        with os.fdopen(fd, "rb") as file:
            table = np.memmap(file, dtype=np.float64, mode="r", shape=shape)
        subject, groups = receive(questions)
        # a plain view: what slices a memmap makes another one, which estimators may try to pass on by name
        rows = np.asarray(table)
        while True:
            params, fold = receive(questions)
            send(answers, judge(subject, rows[:, :-1], rows[:, -1].copy(), groups, params, fold))
    except EOFError:
        return


if __name__ == "__main__":
    main()
