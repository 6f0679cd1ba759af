"""A process that can die at any point of what it does to its state database."""

from contextlib import contextmanager


class Crash(BaseException):
    """The process dies here: no `except Exception` may see it."""


class FailPoints:
    """Count the points passed; die at the one that is armed."""

    def __init__(self, armed=None):
        self.armed, self.passed = armed, 0

    def __call__(self):
        self.passed += 1
        if self.passed == self.armed:
            raise Crash


class Connection:
    def __init__(self, connection, point):
        self._connection, self._point = connection, point

    def execute(self, *args):
        self._point()
        cursor = self._connection.execute(*args)
        self._point()
        return cursor

    def executemany(self, *args):
        self._point()
        cursor = self._connection.executemany(*args)
        self._point()
        return cursor


class Crashing:
    """Any database, that can die before and after each statement, before and after each commit; one thread at a time."""

    def __init__(self, database, point):
        self._database, self._point, self._is_open = database, point, False
        self.changes, self.close = database.changes, database.close

    @contextmanager
    def transaction(self):
        with self._database.transaction() as connection:
            self._is_open = True
            try:
                yield Connection(connection, self._point)
            finally:
                self._is_open = False
            self._point()
        self._point()

    def query(self, sql, *values):
        self._point()
        return self._database.query(sql, *values)

    def execute(self, sql, *values):
        if self._is_open:
            return self._database.execute(sql, *values)
        with self.transaction() as connection:
            return connection.execute(sql, values).rowcount
