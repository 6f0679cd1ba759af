"""A project opened on a platform: what an app consists of, and who is made when first asked for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Self

from tenfold.automation.askable import Load
from tenfold.automation.at_hand import AtHand
from tenfold.automation.audit import Audit
from tenfold.automation.deliver import Delivery, deliveries
from tenfold.automation.journal import Journal
from tenfold.automation.release import Release
from tenfold.automation.schedule import Schedule
from tenfold.automation.scoring import Scoring
from tenfold.core.errors import Unavailable
from tenfold.declared import Declared, sinks
from tenfold.monitoring.telemetry import Telemetry
from tenfold.platform import Platform
from tenfold.processing.ingest import Call, Ingested, ingest_all
from tenfold.processing.quarantine import Quarantine
from tenfold.registry.rollouts import Rollout, Rollouts
from tenfold.registry.versions import Registry, Version
from tenfold.serving.answer.predictions import TOPIC, PredictionLog
from tenfold.serving.answer.service import Service, Versions
from tenfold.serving.answer.traffic import Traffic
from tenfold.serving.door.tokens import Tokens
from tenfold.serving.rows.degraded import Careful
from tenfold.store.base import OnlineStore
from tenfold.store.fits import Fits
from tenfold.store.materialize import LakeSink, StateSink
from tenfold.store.memory import MemoryOnlineStore
from tenfold.store.offline import History
from tenfold.store.whole import Whole
from tenfold.tracking import checkout
from tenfold.tracking.runs import Run, Runs
from tenfold.training.dataset import Dataset
from tenfold.training.model import Model
from tenfold.training.ranges import Ranges
from tenfold.training.train import Trainer
from tenfold.ui.documents import Kept
from tenfold.ui.elsewhere import Elsewhere
from tenfold.ui.shown import show


class Opened:
    """A project and the storage it runs on; what it does is in `App`."""

    def __init__(self, project: Declared, platform: Platform) -> None:
        self.project, self.platform, self.clock = project, platform, platform.clock
        self.database = platform.open_state()
        self.log, self.lake, self.blobs = platform.open_log(), platform.open_lake(), platform.open_blobs()
        self.runs = Runs(self.database, self.clock, drawn=self._drawn)
        self.registry = Registry(self.database, self.clock, drawn=self._drawn)
        self.journal, self.audit = Journal(self.database, self.clock), Audit(self.database, self.clock)
        self.kept = Kept(self.database, self.runs, self.registry, self.blobs, self.audit)
        self.elsewhere = Elsewhere(self.kept, project.name, platform)
        self.quarantine = Quarantine(self.database, self.clock)
        self.telemetry = Telemetry(self.database, self.clock)
        self.tokens = Tokens(self.database, self.clock)
        self.versions = Versions(self.registry, self.blobs)
        self.predictions, self.rollouts = PredictionLog(self.log), Rollouts(self.database)
        self._whole = Whole(self.log, self.lake, [*project.sources, TOPIC])
        self._fits = Fits(self.log, self.lake)
        self._services: dict[str, Service] = {}
        self._history: tuple[dict[str, int], dict[str, Dataset]] = ({}, {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release everything; may be called twice."""
        for service in self._services.values():
            service.close()
        if "traffic" in self.__dict__:
            self.traffic.close()
        for delivery in self.__dict__.get("deliveries", ()):
            delivery.sink.close()
        if "online" in self.__dict__:
            self.online.close()
        self.telemetry.close()
        self.log.close()
        self.database.close()

    def _drawn(self, what: Run | Version | str) -> str | None:
        """Return what a notebook draws of a run or a version; None once this is closed."""
        with suppress(Unavailable):
            return show(self.kept, what).html
        return None

    @cached_property
    def online(self) -> OnlineStore:
        """The online store, opened when it is first needed: another process may be the one that uses it."""
        return self.platform.open_online()

    @cached_property
    def traffic(self) -> Traffic:
        """Which version answers in this process, what each did, and who asks the other one of a rollout."""
        budgets = {release.model.name: release.budget_us for release in self.project.releases}
        return Traffic(self.database, self.versions, self.predictions, self.clock, budgets)

    @cached_property
    def deliveries(self) -> list[Delivery]:
        """For each address that a release names, what it was not sent yet."""
        parts = self.log, self.lake, self.database, self.clock, self.platform.home
        return deliveries(sinks(self.project.releases), *parts)

    def _downstream(self) -> Iterator[tuple[str, int | None, int]]:
        """Yield of each address how many answers wait for it, None where that cannot be told, and how many it refused."""
        for found in (delivery.waiting() for delivery in self.deliveries):
            yield found.sink, None if found.problem else found.answers, sum(found.refused.values())

    @cached_property
    def states(self) -> OnlineStore:
        """The online store as requests read it: opened when it is first needed, and `Away` where it fails."""
        return Careful(lambda: self.online, self.clock, lambda: self.__dict__.pop("online", None))

    def service(self, model: Model | str) -> Service:
        """Return what answers rows of a model: made once."""
        model = self._model(model)
        known = self._services.get(model.name)
        if known is None or known.model is not model:
            with suppress(Unavailable):  # now, so that no request is the first; who asks is told
                self._whole.check()
            known = self._services[model.name] = Service(
                model,
                store=self.states
                if model.stored
                else MemoryOnlineStore(),  # which stays empty: it reads none
                log=self.log,
                versions=self.versions,
                predictions=self.predictions,
                traffic=self.traffic,
                degraded=self._degraded(model),
                check=self._whole.check,
            )
        return known

    def _degraded(self, model: Model) -> Service | bool:
        wanted = {release.model.name: release.degraded for release in self.project.releases}
        found = wanted.get(model.name, "refuse")
        return self.service(found) if isinstance(found, Model) else found == "stale"

    def _given(self, model: Model) -> tuple[Load, Load, Callable[[Rollout], None]]:
        """Return what `Rolling` is given of what loads versions."""

        def fresh(number: int) -> object:  # from its files each time, which may go
            return Versions(self.registry, self.blobs).get(model, number)

        at_hand = AtHand(model.name, self.database, self.clock, self.platform.home)
        return at_hand.given(fresh, partial(self.versions.get, model))

    def _model(self, model: Model | str) -> Model:
        return self.project.release(model).model if isinstance(model, str) else model

    def check_log(self) -> None:
        """Raise `OtherLog` when states or lake tables were made of another log than this one."""
        self._lake_sink().check()
        self._state_sink().check()

    def check_declared(self) -> None:
        """Raise DefinitionError when a source is declared otherwise than what is stored of it; each is looked at once."""
        with suppress(Unavailable):  # who stores or reads next is told
            self._fits.check(*self.project.sources.values())

    def _way_in(self) -> dict[str, Any]:
        """Return what rows are checked with and stored by."""
        self._whole.check()
        return {
            "log": self.log,
            "quarantine": self.quarantine,
            "clock": self.clock,
            "fits": self._fits.check,
        }

    def _ingest_all(self, calls: Sequence[Call], *, wait: float | None = None) -> list[Ingested | Exception]:
        return ingest_all(calls, **self._way_in(), wait=wait)

    def _state_sink(self) -> StateSink:
        views = [view for view in self.project.views.values() if view.entity is not None]
        return StateSink(self.log, self.online, views)

    def _lake_sink(self) -> LakeSink:
        return LakeSink(self.log, self.lake, [*self.project.sources, TOPIC])

    def dataset(self, model: Model | str) -> Dataset:
        """Return the rows of a model's spine with features, over the newest lake tables; computed once per version."""
        self.check_declared()
        newest = {name: self.lake.version(name) for name in self.project.sources}
        if self._history[0] != newest:
            self._history = (newest, {})
        known, model = self._history[1], self._model(model)
        if model.fingerprint not in known:
            known[model.fingerprint] = Dataset(model, History(self.lake, newest))
        return known[model.fingerprint]

    def scoring(self, model: Model | str) -> Scoring:
        """Return what scores the rows of a model in batch."""
        model = self._model(model)

        def ranges() -> Ranges:
            self.check_declared()
            newest = {name: self.lake.version(name) for name in self.project.sources}
            return Ranges(model, History(self.lake, newest), lambda: self.dataset(model))

        downstream = any(release.to for release in self.project.releases if release.model.name == model.name)
        log = self.predictions if downstream else None
        return Scoring(model, ranges, self.lake, lambda: self.traffic, self.journal, self.audit, log)

    def schedule(self, release: Release) -> Schedule:
        """Return what scores the partitions of a release when they are due, where it says `score_every`."""
        parts = self.registry, self.audit, self.clock, self.flush
        return Schedule(release, self.scoring(release.model), *parts)

    def flush(self) -> int:
        """Move everything that is in the log into lake tables; return how many records that were."""
        return self._lake_sink().flush()

    @cached_property
    def trainer(self) -> Trainer:
        """What trains models and records it, with the code as it was when this was first asked for."""
        schemas = [source.schema for source in self.project.sources.values()]
        return Trainer(self.runs, self.registry, self.blobs, checkout.begun(schemas))
