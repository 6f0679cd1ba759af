"""Where the log ends as a request comes, and whether states are that far."""

from collections.abc import Callable, Mapping
from copy import copy

from tenfold.serving.rows.degraded import Away
from tenfold.sources.base import Ends, Log
from tenfold.store.base import OnlineStore
from tenfold.store.whole import check_states, is_ahead


class Marks:
    """Takes marks of the log for the views of a model, and compares states with them.

    Parameters
    ----------
    topics
        By group of states, which topic it follows.
    check
        Called before the first mark.
    """

    def __init__(
        self, topics: Mapping[str, str], store: OnlineStore, log: Log, check: Callable[[], object]
    ) -> None:
        self._topics, self._store, self._log, self._check = topics, store, log, check
        self._known: Mapping[str, int] | None = None

    def of(self, log: Log) -> "Marks":
        """Return the same of the same log, reached otherwise."""
        found = copy(self)
        found._log = log
        return found

    def now(self) -> Ends:
        """Return where the log ends.

        Raises
        ------
        OtherLog
            When that is before what states were known to hold, so that they were made of another log.
        """
        if self._known is None:
            self._check()
            self._known = self._offsets()
        mark = self._log.ends()  # later, for it goes ahead
        if is_ahead(self._topics, self._known or {}, mark):
            self._known = self._offsets()  # they may have been made anew
            mark = self._log.ends()
            check_states(self._topics, self._known or {}, mark)
        return mark

    def reached(self, mark: Ends) -> bool:
        """Return whether the states hold everything before a mark."""
        self._known = known = self._store.offsets()
        return all(known.get(group, 0) >= mark.offsets.get(topic, 0) for group, topic in self._topics.items())

    def _offsets(self) -> Mapping[str, int] | None:
        try:
            return self._store.offsets()
        except Away:  # who needs them is told
            return None
