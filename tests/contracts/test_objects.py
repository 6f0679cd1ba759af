"""Model files in an object store: a local folder in `make test`, a started server of the S3 protocol with the slow tests."""

import json
import os
import signal
import socket
import subprocess
import urllib.request
import uuid

import pytest

from tenfold import Platform
from tenfold.core.clock import SystemClock, VirtualClock
from tenfold.core.errors import DefinitionError, NotFound, SchemaError, Unavailable
from tenfold.sources import blobs_contract
from tests import postgres_there
from tests.contracts.venv_there import made
from tests.examples import tiny

pytest.importorskip("obstore", reason="obstore is not installed: pip install 'tenfold[objects]'")

from tenfold.adapters.objects import ObjectBlobs
from tenfold.adapters.postgres import PostgresDatabase

KEYS = {"access_key_id": "ann", "secret_access_key": "secret", "region": "eu-central-1"}


@pytest.fixture(scope="session")
def s3():
    """A server of the S3 protocol with a bucket."""
    folder, why = made("moto-venv", "moto[s3]>=5.1", "flask", "flask-cors")
    if folder is None:
        pytest.skip(why)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(folder / "bin/moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
    )
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(urllib.request.Request(f"{url}/models", method="PUT"), timeout=5).close()
            break
        except OSError:
            assert server.poll() is None
            SystemClock().sleep(0.2)
    yield url
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.slow)])
def make(request, tmp_path):
    """Give a store of its own, opened anew at every call."""
    if request.param == "folder":
        return lambda: ObjectBlobs(f"file://{tmp_path}/shared")
    endpoint, folder = request.getfixturevalue("s3"), uuid.uuid4().hex
    return lambda: ObjectBlobs(f"s3://models/{folder}", endpoint=endpoint, **KEYS)


@pytest.mark.parametrize("check", blobs_contract.blob_checks(), ids=lambda check: check.__name__)
def test_contract(check, make):
    check(make)


def test_what_was_changed_or_lost_is_refused(make):
    blobs = make()
    blobs.put("fraud/3", {"model.txt": b"tree", "manifest.json": b"{}"})
    store = blobs._store
    (model,) = [
        item["path"] for page in store.list("files/") for item in page if item["path"].endswith("model.txt")
    ]
    store.put(model, b"tref")
    with pytest.raises(
        SchemaError, match=r'blob "fraud/3" is not what was stored: model.txt has another sha256'
    ):
        blobs.get("fraud/3")
    store.delete(model)
    with pytest.raises(SchemaError, match=r"model.txt is missing"):
        blobs.get("fraud/3")
    blobs.delete("fraud/3")
    assert [item for page in store.list() for item in page] == []


def test_files_without_a_head_are_nothing(make):
    """A writer that died left files; the next one stores its own."""
    blobs = make()
    blobs._store.put("files/dead/model.txt", b"half")
    assert blobs.names() == []
    with pytest.raises(NotFound):
        blobs.get("fraud/3")
    blobs.put("fraud/3", {"model.txt": b"tree"})
    assert blobs.get("fraud/3") == {"model.txt": b"tree"}


def test_two_that_write_at_once_leave_one_whole_blob(make):
    """The other one stores everything between our files and our head."""
    blobs, other = make(), make()
    put = blobs._store.put

    class Late:
        def __getattr__(self, name):
            return getattr(other._store, name)

        def put(self, place, data, **how):
            if how:
                other.put("fraud/3", {"model.txt": b"tree"})
            return put(place, data, **how)

    blobs.__dict__["_store"] = Late()
    blobs.put("fraud/3", {"model.txt": b"tree"})
    assert make().get("fraud/3") == {"model.txt": b"tree"}
    assert len([item for page in other._store.list() for item in page]) == 2


def test_a_large_file_comes_back(make):
    data = os.urandom(20_000_000)
    make().put("big/1", {"model.txt": data})
    assert make().get("big/1") == {"model.txt": data}


def test_a_store_that_is_away_or_unknown_is_said_so():
    with pytest.raises(Unavailable, match=r"ObjectBlobs\('s3://models/x'\) does not answer"):
        ObjectBlobs("s3://models/x", endpoint="http://127.0.0.1:9", **KEYS).names()
    with pytest.raises(DefinitionError, match="is no address"):
        ObjectBlobs("models/x")
    with pytest.raises(DefinitionError, match="cannot be used"):
        ObjectBlobs("s3://models/x", endpiont="http://127.0.0.1:9").names()
    with pytest.raises(DefinitionError, match="cannot be used"):
        ObjectBlobs("nothing://models/x").names()


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_said_so(s3):
    with pytest.raises(Unavailable, match="no such bucket"):
        ObjectBlobs("s3://gone/x", endpoint=s3, **KEYS).put("a", {"b": b"1"})


def test_another_machine_on_the_same_state_loads_what_was_trained_here(make, tmp_path):
    """State on Postgres and files in the store: a second home serves what the first one promoted."""
    programs, why = postgres_there.programs()
    if programs is None:
        pytest.skip(why)
    server = postgres_there.Server(programs).start()
    try:

        def opened(home):
            state, clock = PostgresDatabase(server.url, schema="shop"), VirtualClock(tiny.ASK_AT)
            return tiny.project.open(Platform(home=tmp_path / home, clock=clock, state=state, blobs=make()))

        with opened("one") as app:
            tiny.load(app)
            app.promote("late_order", app.train("late_order").number)
            with app.track("a try") as run:
                run.attach("note.txt", "look")
        with opened("two") as app:
            package = app.versions.get(tiny.late_order, app.registry.production("late_order").number).package
            assert json.loads(package.files()["manifest.json"])["model"] == "late_order"
            assert app.show("late_order/1").document["problem"] == ""
            assert "note.txt" in app.show(run.id).page
        assert not (tmp_path / "one/blobs").exists()
    finally:
        server.remove()
