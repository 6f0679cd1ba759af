"""A project and the app: wiring only. What happens is in the components."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.automation.loop import Loop
from tenfold.automation.pairs import Pairs, pairs_of, unseen
from tenfold.automation.release import Release
from tenfold.automation.replay import Day, replay
from tenfold.automation.rollback import roll_back
from tenfold.automation.rollout import Rolling
from tenfold.automation.scoring import Scored
from tenfold.automation.training import train
from tenfold.core.expr import Expr
from tenfold.core.times import FOREVER, iso, to_us
from tenfold.declared import Declared
from tenfold.monitoring.performance import Matured, first_answers, mature
from tenfold.monitoring.served import parts, told
from tenfold.monitoring.skew import Skew, skew
from tenfold.opened import Opened
from tenfold.platform import Platform
from tenfold.processing.derive import Source
from tenfold.processing.ingest import Ingested, ingest
from tenfold.registry.rollouts import Rollout
from tenfold.registry.versions import StageEvent, Version
from tenfold.serving.answer.predictions import BATCH, ONLINE, Predictions, read
from tenfold.serving.answer.service import Service
from tenfold.sources.base import Ends
from tenfold.sources.owner import Process
from tenfold.store.explain import Explanation, explain, find
from tenfold.store.offline import History
from tenfold.store.worker import Worker
from tenfold.training.folds import Split, first_row, newest_split
from tenfold.training.model import Model
from tenfold.training.rebuild import rebuild
from tenfold.training.register import register
from tenfold.training.rows import TrainingSet
from tenfold.training.tracked import Tracked, plain
from tenfold.ui.shown import Shown, show

if TYPE_CHECKING:
    from socket import socket

    from starlette.applications import Starlette

logger = getLogger(__name__)


class Project(Declared):
    """What exists: a name and the releases; sources, views and models follow from them.

    Raises
    ------
    DefinitionError
        When two different things have one name.
    """

    def open(self, platform: Platform | None = None) -> "App":
        """Return the project running; use it in a `with` statement."""
        return App(self, platform or Platform())


class App(Opened):
    """A project, running; any number of processes may work on one home. Every method may be called again after a crash.

    Wherever a model is asked for, its name will do.

    Examples
    --------
    >>> from tenfold import App
    >>> App.__name__
    'App'
    """

    # data ------------------------------------------------------------------------------------------

    def ingest(
        self, source: Source | str, data: Any, *, history: bool = False, key: str | None = None
    ) -> Ingested:
        """Check rows and append those that fit to the log; the others go to quarantine. Durable when it returns.

        Where that ends between two parts, the same call under its key completes it. A row may have 200 million characters.

        Parameters
        ----------
        data
            A list of dicts, a data frame, an Arrow table, or a path to a parquet, csv, json or ndjson file.
        history
            The rows are long known: each counts as known from its declared time. Otherwise from its arrival, if later.
        key
            Makes it idempotent: the same key again stores nothing.
        """
        return ingest(self.project.source(source), data, **self._way_in(), history=history, key=key)

    def worker(self, *, rows: int = 50_000, seconds: float = 10.0) -> Worker:
        """Return the stream worker, which folds the log into online states and lake tables."""
        self.check_declared()
        sinks = self._state_sink(), self._lake_sink()
        return Worker(*sinks, self.clock, observe=self.telemetry.fresh, rows=rows, seconds=seconds)

    def process(self) -> int:
        """Fold everything that is in the log into states and lake tables; return how many records became visible."""
        return self.worker().drain()

    def retire(self) -> int:
        """Remove the online states of definitions that are no longer declared; return how many states that were.

        For when no worker and no server runs an older declaration any more.
        """
        return self._state_sink().retire()

    # training --------------------------------------------------------------------------------------

    def training_set(
        self, model: Model | str, start: Any = None, end: Any = None, *, rows: Any = None
    ) -> TrainingSet:
        """Return the mature rows predicted in [start, end), or of `rows`, with features as known then and labels by now."""
        first, last = (None if moment is None else to_us(moment) for moment in (start, end))
        return self.dataset(model).of(rows).training_set(self.clock.now(), start=first, end=last)

    def track(
        self, title: str, *, model: Model | str | None = None, params: Mapping[str, Any] | None = None
    ) -> Tracked:
        """Return a run of your own, for a `with` block: what is tried in it is recorded beside the trainings.

        `title` says what is tried, `model` the model it is about; `run.fit` adds the parameters of the estimator.
        """
        name = self.project.name if model is None else self._model(model).name
        data = {table: at for table in self.project.sources if (at := self.lake.version(table)) >= 0}
        self.runs.settle()
        told = {"params": plain(params or {}), "data": data, "code": self.trainer.code}
        run = self.runs.start("track", name, title=title, process=Process.current(), **told)
        return Tracked(self.runs, self.blobs, self.clock, run, self._drawn)

    def train(
        self, model: Model | str, split: Split | None = None, *, as_of: Any = None, **how: Any
    ) -> Version:
        """Train on the newest mature history, as of now or of a moment, or on a given split; returns the version, registered.

        Every step is durable: when a process dies, the next that asks for the same goes on at the first unfinished step.
        `watch` is told of each step, as a `Progress` is; `processes` fit the trials of a search, one per core unless given.
        """
        model = self._model(model)
        now = self.clock.now() if as_of is None else to_us(as_of)
        asked = [as_of and now, split and [*split.train, *split.test, split.now]]

        def chosen() -> Split:
            return split or newest_split(model, now, first_row(self.dataset(model)))

        return train(self.journal, self.trainer, model, lambda: self.dataset(model), asked, chosen, **how)

    def register(
        self, model: Model | str, what: str | Path | Version, *, as_of: Any = None, **told: Any
    ) -> Version:
        """Register a model that was trained elsewhere, measured on the newest mature rows, as of now or of a moment.

        `what` is a file of ONNX, LightGBM, XGBoost or skops, or a version that was taken over, also as "risk/3". `columns`
        says which of the model's columns it takes, in its order or by its names; `trained_until` up to when it learned;
        `classes` what its probabilities stand for, in its order. See `training.register`.
        """
        model = self._model(model)
        now = self.clock.now() if as_of is None else to_us(as_of)
        return register(self.trainer, model, self.dataset(model), now, what, **told)

    def show(self, *what: Any) -> Shown:
        """Return a run, a version, or two of them compared, to look at: a notebook draws it, `save` writes a page.

        Each is an id such as "r0012", a version such as "fraud/3", or the object itself.
        """
        return show(self.kept, *what)

    def rebuild(self, model: Model | str, number: int, *, restore: bool = False) -> dict[str, Any]:
        """Train a version again from the table versions it recorded: `same` bytes, or `why` not; see `training.rebuild`."""
        model = self._model(model)
        return rebuild(self.trainer, model, self.lake, self.registry.get(model.name, number), restore=restore)

    # releases --------------------------------------------------------------------------------------

    def loop(self, release: Release | Model | str | None = None) -> Loop:
        """Return the loop that keeps a release, or the release of a model, running."""
        chosen = release if isinstance(release, Release) else self.project.release(release)
        parts = self.trainer, self.registry, self.versions, self.journal, self.audit, self.clock
        data, matured = partial(self.dataset, chosen.model), partial(self.matured, chosen.model)
        skewed = partial(self.skew, chosen.model)
        return Loop(chosen, self.database, *parts, data, matured, self.rollout(chosen), skewed)

    def rollout(self, release: Release | Model | str | None = None) -> Rolling:
        """Return what moves candidates of a release on, and what a person may do: show, approve, pause, resume, undo."""
        chosen = release if isinstance(release, Release) else self.project.release(release)

        def outcomes(rollout: Rollout) -> Pairs:
            self.traffic.settle()
            self.flush()
            data, since = self.dataset(chosen.model), unseen(chosen.model, self.registry, self.runs, rollout)
            return pairs_of(chosen, self.lake, data, rollout, since, self.clock.now())

        parts = self.database, self.registry, self.rollouts, self.audit, self.traffic.counters, self.clock
        return Rolling(chosen, *parts, outcomes, *self._given(chosen.model))

    def promote(self, model: Model | str, number: int, *, by: str = "user", as_of: Any = None) -> str:
        """Judge a version by the release's gates and promote it; GateFailed says why not.

        The gates judge on the newest mature rows, as of now or of a moment.
        """
        return self.loop(model).promote(number, by=by, as_of=None if as_of is None else to_us(as_of))

    def rollback(
        self, model: Model | str, *, to: int | None = None, by: str = "user", why: str = "asked for"
    ) -> StageEvent:
        """Make the previous Production version, or the one numbered `to`, Production again, once its golden rows were replayed.

        GateFailed says why it cannot be served, and what to do; nothing was changed then.
        """
        parts = self.database, self.registry, self.blobs, self.audit
        return roll_back(self._model(model), *parts, to=to, by=by, why=why)

    def replay(self, start: Any, end: Any, model: Model | str | None = None) -> Iterator[Day]:
        """Run history through the loop, day by day, on a clock that can be set."""
        loop, period = self.loop(self.project.release(model)), (to_us(start), to_us(end))
        name = loop.release.model
        return replay(loop, self.clock, *period, score=lambda *day: self.batch(name, *day, every=None).rows)

    # predictions -----------------------------------------------------------------------------------

    def predict(self, model: Model | str, row: Any, *, key: str | None = None) -> dict[str, Any]:
        """Answer one row as of now, from everything in the log; the answer is durable when it returns.

        Where the log cannot be folded into states, the answer is what the release declares (`degraded`).
        """
        service = self.service(model)
        at, late = self._caught_up(service)
        return service.predict(row, at=at, key=key, late=late)

    def predict_many(
        self, model: Model | str, rows: Sequence[Any], *, key: str | None = None
    ) -> list[dict[str, Any]]:
        """Answer rows together as of now, as `predict` does each; all answers are durable when it returns."""
        service = self.service(model)
        at, late = self._caught_up(service)
        return service.predict_many(rows, at=at, key=key, late=late)

    def _caught_up(self, service: Service) -> tuple[int, Ends | None]:
        """Return the moment of a request now, and the mark when states were not brought there but there is an answer."""
        mark = service.mark()
        try:
            self.process()
        except Exception:
            if not service.reached(mark):  # says that the store is away, when it is
                if not service.degrades:
                    raise
                return mark.at, mark
            logger.exception("the log could not be moved, but states have reached the request")
        return mark.at, None

    def features(self, model: Model | str, row: Any, *, at: Any = None) -> dict[str, Any]:
        """Return the features of one row as `predict` reads them now, or at a moment; nothing is logged.

        `as_of`, `features` by name, and `ages_s`: how old the newest record behind each view is, in seconds.
        """
        service = self.service(model)
        moment = service.mark().at if at is None else to_us(at)
        self.process()
        found = service.features(row, moment)
        return {
            "as_of": iso(found.at),
            "features": found.values,
            "ages_s": {name: None if age is None else age / 1e6 for name, age in found.ages.items()},
        }

    def explain(self, feature: Any, key: Any, at: Any = None, *, limit: int = 50) -> Explanation:
        """Return the records behind a stored feature of a key, each counted or why not, as of now or of a moment.

        `feature` is such as `view["spent_7d"]`, or its name; `key` the value of the key field, a dict or a tuple when there
        are several; `limit` says how many records to give for each aggregate, the newest first.
        """
        name = f"{feature.args[0]}.{feature.args[1]}" if isinstance(feature, Expr) else str(feature)
        view, one = find(self.project.views, name)
        self.flush()
        moment = self.log.ends().at if at is None else to_us(at)
        return explain(History(self.lake), view, one, key, moment, limit)

    def score(self, model: Model | str, start: Any, end: Any, **how: Any) -> Predictions:
        """Score all rows predicted in [start, end) with the Production version, once, and return the answers; see `batch`."""
        self.batch(model, start, end, **how)
        return read(self.lake, self._model(model).name, BATCH, to_us(start), to_us(end))

    def batch(self, model: Model | str, start: Any, end: Any, **how: Any) -> Scored:
        """Score all rows predicted in [start, end), however many, and return what was done: counts, not the answers.

        Partitions of a day, or of `every` (None: one of all), are scored and stored one after the other, each once. `again`
        replaces what was answered before, `by` says who wants that, `watch` is told of rows as they are answered. After a crash
        the same call goes on where it was. Raises Conflict, and does nothing, while another process scores rows of that period.
        """
        return self.scoring(model).run(to_us(start), to_us(end), **how)

    # monitoring ------------------------------------------------------------------------------------

    def matured(
        self, model: Model | str, start: int, end: int, *, modes: Sequence[str] = (ONLINE, BATCH)
    ) -> Matured:
        """Return what was served in [start, end), once per row, whose outcome is known by now; without features and ages.

        Answers that were not exact are left out, unless `modes` names "stale" or "fallback".
        """
        self.flush()
        model = self._model(model)
        history = self.dataset(model).history
        # what was asked says which rows are ranked among each other, and nothing else
        unread = ["features", "ages", *([] if model.kind == "ranking" else ["request"])]
        found = [
            mature(model, history, part, self.clock.now()).without_features()
            for mode in modes
            for part in self.versions.of_kind(
                model, told(self.lake, model.name, mode, start, end, without=unread)
            )
        ]
        return first_answers(*found)

    def skew(self, model: Model | str, start: Any = 0, end: Any = FOREVER // 4) -> Skew:
        """Recompute every feature vector that was served online and compare it bit by bit."""
        model = self._model(model)
        data = partial(self.dataset, model)
        served = parts(self.lake, model.name, ONLINE, to_us(start), to_us(end))
        return skew(model, data, served, lambda number: self.versions.get(model, number).package.manifest)

    # serving ---------------------------------------------------------------------------------------

    def asgi(
        self, *, wait: float = 5.0, hosts: Sequence[str] = (), rate: str | None = None, always: bool = False
    ) -> "Starlette":
        """Return the HTTP application; DefinitionError when a source is declared otherwise than it is stored.

        Parameters
        ----------
        wait
            Seconds a request waits for the worker to reach the newest event, 0.1 to 3,600.
        hosts
            The Host names to answer for; all when empty.
        rate
            How often a token, or without tokens an address, may ask: such as "100/s".
        always
            Ask for a token even while there is none.
        """
        from tenfold.serving.door.gate import Gate
        from tenfold.serving.http.app import application

        self.check_declared()
        gate = Gate.of(self.database, self.tokens, self.platform.home, self.clock, rate=rate, always=always)
        return application(
            {release.model.name: self.service(release.model) for release in self.project.releases},
            self.project.sources,
            self._ingest_all,
            wait=wait,
            hosts=hosts,
            gate=gate,
            downstream=self._downstream,
            store=self.log.check,
        )

    def serve(
        self,
        *,
        port: int = 8000,
        host: str = "127.0.0.1",
        wait: float = 5.0,
        rate: str | None = None,
        names: Sequence[str] = (),
        listening: "socket | None" = None,
        announce: Callable[[], object] = lambda: None,
        **bounds: Any,
    ) -> None:
        """Answer requests until SIGTERM or SIGINT; a worker must run, in this process or another one.

        Parameters
        ----------
        names, listening
            Further Host names to answer for, and a socket that listens on the address already.
        announce
            Called when connections are accepted.
        bounds
            `timeout`, `connections`, `drain` and `patient`, see `serving.server.Bounds`.

        Raises
        ------
        DefinitionError
            When others than this machine could ask, and no token was made; when a name is none of a host.
        """
        from tenfold.serving.door.listening import LOCAL, check_host, listen
        from tenfold.serving.server import Bounds, run

        check_host(host, self.tokens.list(), names)
        local = host in LOCAL
        api = self.asgi(wait=wait, hosts=(*LOCAL, *names) if local else (), rate=rate, always=not local)
        with listening or listen(host, port) as found:
            run(api, found, Bounds(**bounds), api.state.ready, api.state.door, announce)
