"""Processes that judge settings side by side, over one copy of the rows."""

import os
import subprocess
import sys
import tempfile
import weakref
from collections import deque
from collections.abc import Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Protocol

import numpy as np

from tenfold.core.room import reserve
from tenfold.training.trials import Judged, Subject, is_sendable, judge
from tenfold.training.worker import receive, send

SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""One thread a process: the same bits however many there are, and no waiting for each other."""

HERE = str(Path(__file__).parents[2])


class Judges(Protocol):
    """What judges settings on folds, in whatever processes."""

    def ask(self, params: Mapping[str, Any], fold: int) -> "Future[Judged]":
        """Begin to judge a setting on a fold."""
        ...

    def ready(self, asked: "Collection[Future[Judged]]") -> "Collection[Future[Judged]]":
        """Wait until at least one of those asked is answered; return those that are."""
        ...

    def close(self) -> None:
        """End what was started; may be called twice."""
        ...


def judges(
    subject: Subject, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None, processes: int
) -> Judges:
    """Return what judges, in this process when the estimator cannot be sent to another one."""
    if is_sendable(subject.estimator):
        return _Processes(subject, X, y, groups, processes)
    return _Here(subject, X, y, groups)


class _Here:
    """In this process, one after the other, each when it is waited for: so who looks on hears of it before the next."""

    def __init__(self, subject: Subject, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None) -> None:
        self._given = subject, X, y, groups
        self._queue: deque[tuple[Future[Judged], Mapping[str, Any], int]] = deque()

    def ask(self, params: Mapping[str, Any], fold: int) -> "Future[Judged]":
        answer: Future[Judged] = Future()
        self._queue.append((answer, params, fold))
        return answer

    def ready(self, asked: "Collection[Future[Judged]]") -> "Collection[Future[Judged]]":
        while not (found := [answer for answer in asked if answer.done()]):
            answer, params, fold = self._queue.popleft()
            answer.set_result(judge(*self._given, params, fold))
        return found

    def close(self) -> None:
        return


class _Processes:
    """In processes of their own; the rows are a file without a name that all of them map, so there is one copy.

    A process that dies makes its question failed, and another one takes its place.
    """

    def __init__(
        self, subject: Subject, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None, processes: int
    ) -> None:
        self._subject, self._groups = subject, groups
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the processes run
        self._shape = (X.shape[0], X.shape[1] + 1)
        try:
            self._fill(X, y)
        except BaseException:
            self._file.close()
            raise
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="judge")
        self._idle: SimpleQueue[subprocess.Popen[bytes] | None] = SimpleQueue()
        for _ in range(processes):
            self._idle.put(None)
        self._started: list[subprocess.Popen[bytes]] = []
        # also when nobody closes it, because what used it was left by an error
        self._end = weakref.finalize(self, _end, self._threads, self._started, self._file)

    def ask(self, params: Mapping[str, Any], fold: int) -> "Future[Judged]":
        return self._threads.submit(self._answer, params, fold)

    def ready(self, asked: "Collection[Future[Judged]]") -> "Collection[Future[Judged]]":
        return wait(asked, return_when=FIRST_COMPLETED).done

    def close(self) -> None:
        self._end()

    def _fill(self, X: np.ndarray, y: np.ndarray) -> None:
        rows, columns = self._shape
        reserve(self._file.fileno(), 8 * rows * columns, f'the file of rows in "{tempfile.gettempdir()}"')
        table = np.memmap(self._file, dtype=np.float64, mode="r+", shape=self._shape)
        table[:, :-1], table[:, -1] = X, y
        table.flush()

    def _answer(self, params: Mapping[str, Any], fold: int) -> Judged:
        process = self._idle.get()
        try:
            process = process or self._start()
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
            send(process.stdin, (params, fold))  # type: ignore[arg-type]
            found: Judged = receive(process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError):
            code = None if process is None else process.wait()
            self._idle.put(None)
            nothing = dict.fromkeys(self._subject.metrics)
            return Judged(nothing, None, f"the process that fitted it ended with code {code}")
        self._idle.put(process)
        return found

    def _start(self) -> "subprocess.Popen[bytes]":
        fd, before = self._file.fileno(), os.environ.get("PYTHONPATH")
        process = subprocess.Popen(
            [sys.executable, "-m", "tenfold.training.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **SINGLE, "PYTHONPATH": os.pathsep.join(filter(None, (HERE, before)))},
            pass_fds=[fd],
        )
        self._started.append(process)
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        send(process.stdin, (sys.path, fd, self._shape))  # type: ignore[arg-type]
        send(process.stdin, (self._subject, self._groups))  # type: ignore[arg-type]
        return process


def _end(threads: ThreadPoolExecutor, started: list["subprocess.Popen[bytes]"], file: IO[bytes]) -> None:
    """End processes, whatever they are fitting: nobody waits for it."""
    threads.shutdown(wait=False, cancel_futures=True)
    _kill(started)
    threads.shutdown()
    _kill(started)  # one that was just being started
    file.close()


def _kill(started: list["subprocess.Popen[bytes]"]) -> None:
    while started:
        process = started.pop()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what was not yet read by it
                    pipe.close()
