"""Loading projects, what Project and Platform refuse, and rules about the package itself."""

import ast
import inspect
import sys
from pathlib import Path

import pytest

import tenfold
from tenfold import App, Events, Platform, Project, Release
from tenfold.cli.loading import load
from tenfold.core.clock import VirtualClock
from tenfold.core.errors import DefinitionError, NotFound
from tenfold.sources.memory import MemoryBlobs, MemoryLake, MemoryLog
from tenfold.store.memory import MemoryOnlineStore
from tenfold.tracking.checkout import code
from tests.examples import shop

ROOT = Path(__file__).parents[2]


# Loading ------------------------------------------------------------------------------------------


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


SMALL = "from tenfold import Project\n"


def test_a_file_in_a_package_is_imported_as_part_of_it():
    assert load(str(ROOT / "tests/examples/shop.py")) is shop.project
    assert load(str(ROOT / "tests/examples/shop.py:project")) is shop.project


def test_a_file_of_its_own_is_imported_by_its_name(tmp_path):
    path = write(tmp_path, "lone_project.py", f"{SMALL}it = Project('lone', releases=[])\nalso = it\n")
    assert load(path).name == "lone"


def test_one_of_several_projects_is_named(tmp_path):
    text = f"{SMALL}a = Project('one', releases=[])\nb = Project('two', releases=[])\n"
    path = write(tmp_path, "two_projects.py", text)
    assert load(f"{path}:b").name == "two"
    with pytest.raises(DefinitionError) as error:
        load(path)
    assert str(error.value) == f'"{path}" has several projects: a, b. Say which, for example {path}:a.'
    with pytest.raises(NotFound) as missing:
        load(f"{path}:c")
    assert str(missing.value) == f'no project "c" in "{path}". Known: a, b.'


def test_no_such_file_names_the_nearest(tmp_path):
    write(tmp_path, "flights.py", "")
    with pytest.raises(NotFound) as error:
        load(str(tmp_path / "flight.py"))
    assert str(error.value) == (
        f'no file "flight.py" in folder "{tmp_path}". Did you mean "flights.py"? Known: flights.py.'
    )


def test_a_file_without_a_project(tmp_path):
    path = write(tmp_path, "no_project.py", "x = 1\n")
    with pytest.raises(DefinitionError) as error:
        load(path)
    assert str(error.value) == (
        f'"{path}" has no project. Define one, for example project = Project("shop", releases=[...]).'
    )


def test_a_file_that_fails_says_where(tmp_path):
    path = write(tmp_path, "failing_project.py", "x = 1\ny = 1 / 0\n")
    with pytest.raises(DefinitionError) as error:
        load(path)
    assert str(error.value) == f'"{path}" cannot be imported: ZeroDivisionError: division by zero.'
    assert error.value.__notes__ == [f"       {path}, line 2"]


def test_a_wrong_declaration_says_where(tmp_path):
    path = write(tmp_path, "wrong_project.py", f"{SMALL}\n\nProject('No', releases=[])\n")
    with pytest.raises(DefinitionError) as error:
        load(path)
    assert str(error.value).startswith('project name "No" is not lower-case')
    assert error.value.__notes__ == [f"       {path}, line 4"]


def test_a_name_that_is_taken_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "sys.path", sys.path.copy()
    )  # processes that are started later shall not find this json
    path = write(tmp_path, "json.py", f"{SMALL}it = Project('json', releases=[])\n")
    with pytest.raises(DefinitionError) as error:
        load(path)
    assert str(error.value).startswith(f'"{path}" cannot be imported as "json", because that is the name of ')
    assert str(error.value).endswith(". Rename the file.")


# Project, Platform, App ---------------------------------------------------------------------------


def test_a_project_knows_its_sources_and_views():
    assert sorted(shop.project.sources) == ["deliveries", "orders"]
    assert sorted(shop.project.views) == ["of_customer", "of_item", "this_order"]
    assert shop.project.release() is shop.release


def test_two_things_of_one_name_are_refused():
    other = Events("orders", shop.Order, time="ships", known="placed", id="order_id")
    model = vary(shop.late_delivery, name="other", spine=other, features=[shop.of_customer])
    with pytest.raises(DefinitionError) as error:
        Project("shop", releases=[shop.release, Release(model)])
    assert str(error.value) == 'two sources are named "orders". Rename one.'


def test_the_name_of_the_prediction_log_is_taken():
    taken = Events("predictions", shop.Order, time="ships", known="placed", id="order_id")
    model = vary(shop.late_delivery, spine=taken, features=[shop.of_customer])
    with pytest.raises(DefinitionError) as error:
        Project("shop", releases=[Release(model)])
    assert str(error.value) == 'source name "predictions" is taken by the prediction log. Rename the source.'


def test_unknown_names_get_the_nearest():
    with pytest.raises(NotFound) as source:
        shop.project.source("ordres")
    assert str(source.value) == 'no source "ordres". Did you mean "orders"? Known: deliveries, orders.'
    with pytest.raises(NotFound) as model:
        shop.project.release("late_deliver")
    assert str(model.value) == 'no model "late_deliver". Did you mean "late_delivery"? Known: late_delivery.'


def test_a_derived_source_names_the_source_to_use(tmp_path):
    expected = 'source "arrived" is computed from source "deliveries" and holds no rows of its own. Use "deliveries".'
    with shop.project.open(Platform(home=tmp_path)) as app:
        for source in ("arrived", shop.arrived):
            with pytest.raises(DefinitionError) as error:
                app.ingest(source, [])
            assert str(error.value) == expected


def test_one_of_several_models_is_named():
    other = vary(shop.late_delivery, name="other")
    project = Project("shop", releases=[shop.release, Release(other)])
    assert project.release("other").model is other
    assert project.release(shop.late_delivery) is shop.release
    with pytest.raises(DefinitionError) as error:
        project.release()
    assert str(error.value) == 'project "shop" has 2 models. Name one of late_delivery, other.'
    with pytest.raises(DefinitionError) as none:
        Project("shop", releases=[]).release()
    assert str(none.value) == 'project "shop" has 0 models. Add a Release.'


ROW = {
    "order_id": "new",
    "customer": "c1",
    "item": "sofa",
    "amount": 20.0,
    "placed": "2024-03-01T05:00:00+00:00",
    "ships": "2024-03-01T00:00:00+00:00",
}
CALLS = {
    "dataset": lambda app, model: app.dataset(model).model,
    "training_set": lambda app, model: app.training_set(model, "2024-01-10", "2024-02-10").digest,
    "train": lambda app, model: app.train(model).model,
    "promote": lambda app, model: app.promote(model, app.train(model).number),
    "rollback": lambda app, model: app.rollback(model).model,
    "rebuild": lambda app, model: app.rebuild(model, 1)["same"],
    "service": lambda app, model: app.service(model).model,
    "features": lambda app, model: app.features(model, ROW),
    "predict": lambda app, model: app.predict(model, ROW, key="once")["score"],
    "score": lambda app, model: app.score(model, "2024-02-01", "2024-02-02").score.tolist(),
    "matured": lambda app, model: len(app.matured(model, 0, app.clock.now()).y),
    "skew": lambda app, model: app.skew(model).rows,
    "loop": lambda app, model: app.loop(model).release,
    "replay": lambda app, model: list(app.replay("2024-03-01", "2024-03-01", model)),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A shop with two versions that have been in production."""
    clock = VirtualClock("2024-03-01T00:00:00+00:00")
    with shop.project.open(Platform(home=tmp_path_factory.mktemp("shop"), clock=clock)) as app:
        for source, rows in zip(("orders", "deliveries"), shop.history(), strict=True):
            app.ingest(source, rows, history=True)
        app.process()
        for _ in range(3):
            app.promote(shop.late_delivery, app.train(shop.late_delivery).number)
        yield app


@pytest.mark.parametrize("call", CALLS)
def test_a_model_or_its_name(running, call):
    ask = CALLS[call]
    if call in ("promote", "train", "rollback"):
        assert ask(running, "late_delivery"), "the same act again has another answer"
    else:
        assert ask(running, "late_delivery") == ask(running, shop.late_delivery)
    with pytest.raises(NotFound) as error:
        ask(running, "late_deliver")
    assert str(error.value) == 'no model "late_deliver". Did you mean "late_delivery"? Known: late_delivery.'


def test_features_are_those_that_predict_reads(running):
    row = ROW | {"placed": "2024-02-29T00:00:00+00:00"}
    found, answer = running.features("late_delivery", row), running.predict("late_delivery", row)
    assert (found["as_of"], found["ages_s"]) == (answer["as_of"], answer["ages_s"])
    assert list(found["features"]) == list(shop.late_delivery.columns)
    assert found["features"]["this_order.item"] == "sofa"


def test_features_without_a_lead_are_as_of_the_row(running):
    row = ROW | {"ships": "2024-02-29T23:30:00+00:00"}
    assert running.features("late_delivery", row)["as_of"] == "2024-02-29T23:30:00+00:00"


def test_the_commit_is_that_of_the_project(tmp_path, monkeypatch):
    here = code([shop.Order])
    monkeypatch.chdir(tmp_path)
    assert code([shop.Order]) == here
    lone = load(write(tmp_path, "outside_git.py", OUTSIDE))
    assert set(code([source.schema for source in lone.sources.values()])) == {"tenfold"}


OUTSIDE = """
from datetime import datetime
from tenfold import Events, Project, Release
from tests.examples import shop
from tests.unit.test_project import vary


class Order(shop.Order):
    pass


orders = Events("orders", Order, time="ships", known="placed", id="order_id")
model = vary(shop.late_delivery, spine=orders, features=[shop.of_customer], label=shop.late_delivery.label)
project = Project("outside", releases=[Release(model)])
"""


def test_a_platform_takes_a_path_as_text():
    assert Platform(home="here").home == Path("here")


def test_an_app_uses_what_the_platform_gives_and_closes_twice(tmp_path):
    clock = VirtualClock(0)
    log, lake, online, blobs = MemoryLog(clock), MemoryLake(), MemoryOnlineStore(), MemoryBlobs()
    platform = Platform(home=tmp_path, clock=clock, log=log, lake=lake, online=online, blobs=blobs)
    with shop.project.open(platform) as app:
        assert (app.log, app.lake, app.online, app.blobs) == (log, lake, online, blobs)
        placed, _ = shop.history(days=1)
        assert app.ingest(shop.orders, placed, history=True).stored == 10
        assert app.process() == 0, "no view keeps state of orders"
        assert lake.position("orders", "log") == 10
    app.close()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["state.db"]


def test_replay_needs_a_clock_of_history(tmp_path):
    with shop.project.open(Platform(home=tmp_path)) as app, pytest.raises(DefinitionError) as error:
        app.replay("2024-02-01", "2024-02-02")
    assert str(error.value) == (
        "replay needs a clock of history. Open the project on Platform(clock=VirtualClock(...))."
    )


def vary(model: tenfold.Model, **changes: object) -> tenfold.Model:
    names = ("name", "spine", "features", "label", "estimator", "metrics", "test_window")
    return tenfold.Model(**({name: getattr(model, name) for name in names} | changes))


# Rules about the package --------------------------------------------------------------------------


def test_public_names_are_few_sorted_and_documented():
    names = tenfold.__all__
    assert names == sorted(names)
    assert len(names) <= 20
    for name in names:
        assert inspect.getdoc(getattr(tenfold, name)), f"{name} has no docstring"
    assert set(names) <= set(dir(tenfold))


def test_lazy_names_are_those_the_type_checker_sees():
    tree = ast.parse(inspect.getsource(tenfold))
    (guarded,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {f"{node.module}.{name.name}" for node in guarded.body for name in node.names}
    lazy = {place.rstrip(":").replace(":", ".") for place in tenfold._PLACES.values()}
    assert seen == lazy
    assert sorted(tenfold._PLACES) == tenfold.__all__


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError) as error:
        tenfold.Frobnicate  # noqa: B018
    assert str(error.value) == 'module "tenfold" has no attribute "Frobnicate"'


def test_public_methods_of_app_are_documented():
    methods = {name: item for name, item in vars(App).items() if not name.startswith("_")}
    assert [name for name, item in methods.items() if not inspect.getdoc(item)] == []


def test_no_source_file_is_longer_than_400_lines():
    sizes = {path: len(path.read_text().splitlines()) for path in (ROOT / "src").rglob("*.py")}
    assert [f"{path.relative_to(ROOT)}: {size}" for path, size in sizes.items() if size > 400] == []
