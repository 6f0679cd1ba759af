"""Makes copies for mirrors of what is known of a run, a version or a model; what cannot be read is said, not sent."""

from collections.abc import Callable
from dataclasses import dataclass

from tenfold.automation.mirror import Origin, RunCopy, StagesCopy, VersionCopy
from tenfold.core.errors import TenfoldError
from tenfold.registry.versions import Registry
from tenfold.sources.base import Blobs
from tenfold.sources.database import Database
from tenfold.tracking.details import Details, details
from tenfold.tracking.runs import Runs
from tenfold.training.tracked import CONTENT, FILES

PAGE, CARD, DIFF = "tenfold/run.html", "tenfold/card.html", "tenfold/uncommitted.diff"


@dataclass(frozen=True, slots=True)
class Copies:
    """Reads what is to be shown.

    Parameters
    ----------
    page
        Gives the page of a run, by its id.
    card
        Gives the card of a version, by model and number.
    """

    origin: Origin
    database: Database
    runs: Runs
    registry: Registry
    blobs: Blobs
    page: Callable[[str], str]
    card: Callable[[str, int], str]

    def run(self, run_id: str, *, files: bool = True) -> RunCopy:
        """Return a run to show; its files only when it is finished, for until then they may change."""
        run = self.runs.get(run_id)
        more = details(self.database, run)
        if run.status == "running" or not files:
            return RunCopy(self.origin, run, more, {})
        found, problems = self._attached(more)
        try:
            found[PAGE] = self.page(run_id).encode()
        except TenfoldError as error:
            problems.append(str(error))
        if more.diff:
            found[DIFF] = more.diff.encode()
        return RunCopy(self.origin, run, more, found, " ".join(problems))

    def version(self, model: str, number: int) -> VersionCopy:
        """Return a version to show with its model files."""
        version = self.registry.get(model, number)
        run = self.run(version.run_id, files=False)
        try:
            files, card = self.blobs.get(version.artefact), self.card(model, number)
        except TenfoldError as error:
            return VersionCopy(self.origin, version, run, {}, problem=str(error))
        return VersionCopy(self.origin, version, run, files, card)

    def stages(self, model: str) -> StagesCopy:
        """Return where the versions of a model stand after its last event."""
        history = self.registry.history(model)
        stages = {event.version: event.to_stage for event in history}
        return StagesCopy(self.origin, model, history[-1].seq if history else 0, stages, history)

    def _attached(self, more: Details) -> tuple[dict[str, bytes], list[str]]:
        found: dict[str, bytes] = {}
        problems = []
        for file in more.files:
            try:
                found[f"files/{file.name}"] = self.blobs.get(f"{FILES}/{file.digest}")[CONTENT]
            except TenfoldError as error:
                problems.append(f"{file.name}: {error}")
        return found, problems
