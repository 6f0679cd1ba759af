"""Whether a log is the one that states and lake tables were made of: these follow it, so none is ever ahead of it."""

from collections.abc import Iterable, Mapping, Sequence

from tenfold.core.errors import Unavailable
from tenfold.sources.base import Ends, Lake, Log
from tenfold.store.base import SINK

STATES = '"online"'
"""Where states lie in a home."""


class OtherLog(Unavailable):
    """The log is not the one that states or lake tables were made of: it was removed, or put back from an older copy.

    Attributes
    ----------
    found, fix
        What shows that, and what to do.
    """

    def __init__(self, found: str, fix: str) -> None:
        self.found, self.fix = found, fix
        super().__init__(f"{found} Nothing was stored. {fix}")


def is_ahead(topics: Mapping[str, str], offsets: Mapping[str, int], ends: Ends) -> bool:
    """Return whether the states of a group are ahead of its topic's end.

    Examples
    --------
    >>> is_ahead({"visits@1": "visits"}, {"visits@1": 7}, Ends(0, {"visits": 7}))
    False
    """
    return any(offsets.get(group, 0) > ends.offsets.get(topic, 0) for group, topic in topics.items())


def check_states(topics: Mapping[str, str], offsets: Mapping[str, int], ends: Ends) -> None:
    """Refuse a log that ends before the states of some groups; the offsets were read before the ends.

    Examples
    --------
    >>> check_states({"visits@1": "visits"}, {"visits@1": 7}, Ends(0, {"visits": 5}))
    Traceback (most recent call last):
    tenfold.store.whole.OtherLog: the log is not the one that the states of view "visits" were made of: it holds 5 records...
    """
    for group, topic in topics.items():
        held, end = offsets.get(group, 0), ends.offsets.get(topic, 0)
        if held > end:
            raise other(states_of(group), f'it holds {end:,} records of "{topic}", they {held:,}', [STATES])


def check_lake(log: Log, lake: Lake, topics: Iterable[str]) -> None:
    """Refuse a log that ends before the lake tables of some topics."""
    held = {topic: lake.position(topic, SINK) for topic in topics}
    ends = log.ends().offsets  # read last: it only grows
    ahead = [topic for topic, position in held.items() if position > ends.get(topic, 0)]
    if ahead:
        first = ahead[0]
        says = f'it holds {ends.get(first, 0):,} records of "{first}", the lake {held[first]:,}'
        raise other("the lake was", says, tables_of(ahead))


def other(made: str, says: str, away: Sequence[str]) -> OtherLog:
    """Return what to say of a log that something was not made of: what shows that, and what is to be made anew."""
    return OtherLog(
        f"the log is not the one that {made} made of: {says}. It was removed, or put back from an older copy.",
        f"Put the newer log back. If it is lost, end all processes, move {', '.join(away)} out of the home and "
        "start them again: what is there is made anew from the log as it is.",
    )


def within(topic: str, offset: int) -> str:
    """Return what to say where no batch of the log begins at the offset at which something ends."""
    return f'none of its batches of "{topic}" begins at record {offset:,}'


def states_of(group: str) -> str:
    """Return how to name the states of a group."""
    return f'the states of view "{group.partition("@")[0]}" were'


def tables_of(topics: Iterable[str]) -> list[str]:
    """Return what is to be made anew with some tables of the lake: the states, too."""
    return [STATES, *(f'"lake/{topic}"' for topic in topics)]


class Whole:
    """Looks before the first append that nothing in the lake has the offset which it would get; then no more."""

    def __init__(self, log: Log, lake: Lake, topics: Iterable[str]) -> None:
        self._log, self._lake, self._topics = log, lake, list(topics)
        self._found = False

    def check(self) -> None:
        """Raise OtherLog when the log ends before the lake."""
        if not self._found:
            check_lake(self._log, self._lake, self._topics)
            self._found = True
