"""What a step leaves for later steps, when it is too large for the journal."""

from collections.abc import Callable, Mapping

from tenfold.core.errors import NotFound
from tenfold.sources.base import Blobs

Files = Mapping[str, bytes]


class Parts:
    """Files by the name of the step that made them; with blobs, they outlive the process.

    A part is made once: a step that is executed again after a crash finds what it left before.
    """

    def __init__(self, blobs: Blobs | None = None, prefix: str = "") -> None:
        self._blobs, self._prefix = blobs, prefix
        self._made: dict[str, Files] = {}

    def make(self, step: str, make: Callable[[], Files]) -> Files:
        """Return the files of a step, made now unless they exist."""
        if step in self._made:
            return self._made[step]
        try:
            files = self.get(step)
        except NotFound:
            files = make()
        if self._blobs is not None:
            self._blobs.put(self._name(step), files)  # also what was there, which it makes sure is on disk
        self._made[step] = files
        return files

    def get(self, step: str) -> Files:
        """Return the files a step left; NotFound when it left none."""
        if step not in self._made:
            if self._blobs is None:
                raise NotFound("part", step, self._made)
            self._made[step] = self._blobs.get(self._name(step))
        return self._made[step]

    def clear(self) -> None:
        """Delete all of them."""
        self._made.clear()
        if self._blobs is not None:
            for name in self._blobs.names(f"{self._prefix}/"):
                self._blobs.delete(name)

    def _name(self, step: str) -> str:
        return f"{self._prefix}/{step}"
