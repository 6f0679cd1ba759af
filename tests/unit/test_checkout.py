"""Which code runs: the commit, and what was not committed, the project's own first and without a process each."""

import subprocess
import sys
import threading

import pytest

from tenfold.tracking import checkout
from tenfold.tracking.checkout import begun, code


@pytest.fixture
def git(tmp_path, monkeypatch):
    monkeypatch.setattr("tenfold.tracking.checkout._folder", lambda declared: tmp_path)

    def run(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).stdout.decode()

    return run


@pytest.fixture
def committed(git, tmp_path):
    git("init")
    (tmp_path / "a.py").write_text("x = 1\n")
    git("add", "a.py")
    git("commit", "-m", "first")
    return tmp_path


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_code_names_what_was_not_committed(git, tmp_path):
    assert list(code()) == ["tenfold"]
    git("init")
    write(tmp_path, {"a.py": "x = 1\n"})
    git("add", "a.py")
    git("commit", "-m", "first")
    clean = code()
    assert sorted(clean) == ["git", "tenfold"]
    write(tmp_path, {"a.py": "x = 2\n", "new.py": "y = 3\n", ".env": "SECRET=hunter2\n"})
    dirty = code()
    assert dirty["git"] == clean["git"]
    for line in ("-x = 1", "+x = 2", "+y = 3", "new file, not kept: .env"):
        assert line in dirty["diff"]
    assert "hunter2" not in dirty["diff"]
    write(tmp_path, {"a.py": "z" * 600_000})
    assert len(code()["diff"]) < 500_200
    assert "more characters and 2 more new files were not kept" in code()["diff"]


def test_new_files_are_as_git_has_them(git, committed):
    contents = {"b.py": "one\ntwo\n", "c/d e.py": "one", "empty.py": "", "f.py": "a\rb\n\n\x0c\n+é\u2028\n"}
    write(committed, contents)
    (committed / "b.py").chmod(0o755)
    theirs = "".join(
        git("diff", "--no-index", "--", "/dev/null", name)
        for name in ("b.py", "empty.py", "f.py", "c/d e.py")
    )
    mine = [line for line in theirs.split("\n") if not line.startswith("index ")]
    assert code()["diff"].split("\n") == [line.removesuffix("\t") for line in mine]
    patch = code()["diff"]
    git("clean", "-fd")
    subprocess.run(["git", "apply"], cwd=committed, input=patch.encode(), check=True)
    assert {name: (committed / name).read_bytes().decode() for name in contents} == contents


def test_packages_of_others_are_left_out(committed, monkeypatch):
    started = []
    git = checkout._git
    monkeypatch.setattr("tenfold.tracking.checkout._git", lambda *given: started.append(given) or git(*given))
    write(committed, {f"env/lib/m{n}.py": "x = 1\n" for n in range(50)} | {"env/pyvenv.cfg": ""})
    write(committed, {"lib/site-packages/other.py": "", "conda/conda-meta/history": "", "mine.py": "y = 3\n"})
    diff = code()["diff"]
    assert [line for line in diff.split("\n") if line.startswith(("diff", "new file,"))] == [
        "diff --git a/mine.py b/mine.py",
        "new file, not kept: conda, a folder of packages with 1 files",
        "new file, not kept: env, a folder of packages with 51 files",
        "new file, not kept: lib/site-packages, a folder of packages with 1 files",
    ]
    assert len(started) == 4
    write(committed, {"pyvenv.cfg": ""})  # an environment in the very folder of the project
    assert "+y = 3" in code()["diff"]


def test_what_is_loaded_and_what_is_beside_the_project_is_kept_first(committed, monkeypatch):
    monkeypatch.setattr("tenfold.tracking.checkout._folder", lambda declared: committed / "shop")
    filler = "x = 1\n" * 1_000
    write(committed, {f"a/m{n:03}.py": filler for n in range(100)})
    write(committed, {f"shop/a/m{n:03}.py": filler for n in range(10)})
    write(committed, {"shop/project.py": "PROJECT = 1\n", "z/loaded.py": "LOADED = 1\n"})
    module = type(sys)("loaded")
    module.__file__ = str(committed / "z" / "loaded.py")
    monkeypatch.setitem(sys.modules, "loaded", module)
    diff = code()["diff"]
    assert 0 < diff.index("+LOADED") < diff.index("+PROJECT") < diff.index("shop/a/m000.py")
    assert diff.index("shop/a/m009.py") < diff.index(" b/a/m000.py")
    assert diff.rstrip().endswith("more new files were not kept")


def test_where_loaded_modules_lie_is_looked_for_once_and_only_beside_new_files(committed, monkeypatch):
    with monkeypatch.context() as nothing_new:
        nothing_new.setattr("tenfold.tracking.checkout._loaded", None)
        assert "diff" not in code()
    write(committed, {"new.py": "y = 3\n"})
    first = code()
    monkeypatch.setattr("pathlib.Path.resolve", None)
    assert code() == first


def test_a_link_a_large_file_and_one_that_is_no_text_are_only_named(committed, tmp_path_factory):
    secret = tmp_path_factory.mktemp("elsewhere") / "secret"
    secret.write_text("hunter2")
    (committed / "link.py").symlink_to(secret)
    (committed / "bytes.py").write_bytes(b"\xff\x00")
    write(committed, {"large.py": "x" * 500_001})
    named = "".join(f"new file, not kept: {name}.py\n" for name in ("bytes", "large", "link"))
    assert code()["diff"] == named


def test_code_is_that_of_the_beginning_and_nobody_waits_for_it(committed, monkeypatch):
    go, git = threading.Event(), checkout._git
    monkeypatch.setattr("tenfold.tracking.checkout._git", lambda *given: go.wait(30) and git(*given))
    found = begun()
    go.set()
    first = found()
    write(committed, {"later.py": "late = 1\n"})
    assert found() is first
    assert "diff" not in first
