"""Other systems: mirrors, which are given copies with the pages that people see here, and sources to take over from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tenfold.automation.copies import Copies
from tenfold.automation.mirror import Origin
from tenfold.automation.outbox import Outbox, home_id
from tenfold.core.errors import Unavailable
from tenfold.platform import Platform
from tenfold.training.imported import Importer, Source, Taken
from tenfold.ui.documents import Kept
from tenfold.ui.shown import show_run, show_version


@dataclass(frozen=True)
class Elsewhere:
    """What other systems are shown of a project's runs and versions, and what is taken over from them."""

    kept: Kept
    project: str
    platform: Platform

    @cached_property
    def outboxes(self) -> list[Outbox]:
        """For each mirror of the platform, what it was not shown yet."""
        kept = self.kept
        copies = Copies(
            Origin(self.project, home_id(kept.database)),
            kept.database,
            kept.runs,
            kept.registry,
            kept.blobs,
            lambda run_id: show_run(kept, run_id).page,
            lambda model, number: show_version(kept, model, number).page,
        )
        clock, home = self.platform.clock, self.platform.home
        return [Outbox(kept.database, clock, copies, mirror, home) for mirror in self.platform.mirrors]

    def send(self, *, again: bool = False) -> int:
        """Show the mirrors every run and version that they were not shown yet; return how many things that were.

        `again` tries once more what a mirror refused.

        Raises
        ------
        Unavailable
            When mirrors do not answer, after all others were sent to; nothing is lost.
        """
        sent, away = 0, []
        for outbox in self.outboxes:
            try:
                sent += outbox.send(again=again)
            except Unavailable as error:
                away.append(f"{outbox.mirror.name}: {error}")
        if away:
            raise Unavailable(" ".join(away))
        return sent

    def take(self, source: Source, experiments: Sequence[str] = ()) -> Taken:
        """Take over runs and versions that another system recorded, each once, at the times they have there."""
        kept, home = self.kept, home_id(self.kept.database)
        importer = Importer(
            kept.database, kept.registry, kept.blobs, self.platform.clock, self.platform.home, home
        )
        return importer.take(source, experiments)
