"""`tenfold rollout`: what a person sees and decides."""

import json
import re

import pytest
from click.testing import CliRunner

from tenfold.cli import cli
from tests.unit.cli_project import ask, folder_with_history

place = pytest.fixture(scope="module")(folder_with_history)


@pytest.fixture(scope="module")
def project(place):
    file = place / "rolled.py"
    file.write_text(
        "from tenfold import Project, Release, checks\n"
        "from tests.examples.shop import late_delivery\n"
        "gates = [checks.at_least('roc_auc', 0.1)]\n"
        "release = Release(late_delivery, gates=gates, shadow='7d', canary=(0.1, 0.5))\n"
        "project = Project('shop', releases=[release])\n"
    )

    def run(*args):
        options = ["--home", str(place / "home"), "--clock", str(place / "clock")]
        return CliRunner().invoke(
            cli,
            [*args[:2], str(file), *args[2:], *options]
            if args[0] in ("rollout", "models")
            else [args[0], str(file), *args[1:], *options],
        )

    return run


def told(result):
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_person_follows_a_candidate_and_decides(place, project):
    none = project("rollout", "show")
    assert none.stdout == "late_delivery has had no rollout yet\n"
    missing = project("rollout", "approve")
    assert missing.exit_code == 3
    assert missing.stderr == (
        'error: no open rollout of model "late_delivery". One begins when a version passes the gates of a release that has '
        "shadow= or canary=.\n"
    )
    number = ask(place, "train")["version"]
    promoted = project("promote", "late_delivery", str(number), "--by", "ann")
    assert promoted.stdout.startswith(f"late_delivery version {number} began its rollout in shadow: ")
    document = told(project("rollout", "show", "--json"))["rollout"]
    assert (document["phase"], document["candidate"], document["champion"]) == ("shadow", number, 2)
    assert document["now"]["action"] == "wait"
    seen = project("rollout", "show", "late_delivery").stdout
    words = " ".join(seen.split())
    assert "wait: in shadow (no outcomes of rows that both versions scored are final yet)" in words
    idle = project("rollout", "resume")
    assert (idle.exit_code, idle.stderr) == (
        5,
        f"error: the rollout of late_delivery version {number}, shadow, is not paused and goes on by itself; nothing was "
        f"changed. To stop it there: tenfold rollout pause {place}/rolled.py late_delivery.\n",
    )
    assert (
        "is it shown that more than 0.1% of rows fail? not shown (a bet of 1 on it is worth 1; from 2,000 on it is)"
        in words
    )
    to_do = "nothing, unless a person decides: tenfold rollout pause|approve|undo "
    assert document["to_do"] == f"{to_do}{place}/rolled.py late_delivery"
    assert to_do in words
    assert "PROJECT.py" not in words
    assert "nobody moves it on No controller is at work on this home" in words
    status = project("status").stdout
    assert f"\nRollout of late_delivery: version {number} beside version 2, shadow since " in status
    assert re.search(r"\n  last decided: began in shadow by ann:(\n   )? roc_auc ", status)
    assert "Last decision:" not in status  # which is that of the rollout
    for act, expected in (
        ("pause", {"paused": True}),
        ("resume", {"paused": False}),
        ("approve", {"approved": "ann"}),
        ("undo", {"phase": "undone"}),
    ):
        after = told(project("rollout", act, "--by", "ann", "--why", "because", "--json"))["rollout"]
        assert {name: after[name] for name in expected} == expected
        if act in ("pause", "approve"):
            twice = project("rollout", act)
            assert twice.exit_code == 5
            assert f"is {act.removesuffix('e')}ed already" in twice.stderr
            assert "nothing was changed. To" in twice.stderr
    nobody = project("rollout", "undo", "--by", " ")
    assert nobody.exit_code == 2
    assert '): " " names nobody. Say who decides, such as --by ann.\n' in nobody.stderr
    decisions = told(project("audit", "--kind", "rollout", "--json"))["decisions"]
    assert [item["decision"] for item in decisions] == [
        "began in shadow",
        "paused",
        "resumed",
        "approved",
        "undone",
    ]
    assert all(item["by"] == "ann" and item["evidence"]["rollout"] == 1 for item in decisions)
    ended = project("rollout", "show").stdout.split("\n")
    assert [" ".join(line.split()) for line in ended[2:6]] == [
        f"candidate version {number}",
        "champion version 2",
        "in production version 2",
        "where undone, approved by ann",
    ]
    ended = " ".join(" ".join(ended).split())
    assert "undone by ann: because to do mend what is said of it, then train another: tenfold train " in ended
    (rolled,) = told(project("status", "--json"))["rollouts"].values()
    assert (rolled["candidate"], rolled["phase"], rolled["last_decision"]["why"]) == (
        number,
        "undone",
        "because",
    )
    card = project("models", "show", "late_delivery", str(number)).stdout
    assert "\nroc_auc at least 0.1  passed " in card.partition("\nGates\n")[2], (
        "what let it in, also when its rollout is over"
    )
    rebuild = f"tenfold models rebuild {place}/rolled.py late_delivery {number}"
    assert told(project("models", "show", "late_delivery", str(number), "--json"))["rebuild"] == rebuild
    assert "make it again tenfold models rebuild " in " ".join(card.split())
    assert "PROJECT.py" not in card
    assert card.partition("\nRollout\n")[2].count("because") >= 4, "what became of it"
    page = place / "card.html"
    assert project("models", "show", "late_delivery", str(number), "--html", str(page)).exit_code == 0
    text = page.read_text()
    assert text.count('<th scope="row">roc_auc at least 0.1</th>') == 1
    assert "undone</span> " in text
    again = project("rollout", "undo")
    assert again.exit_code == 3
    refused = project("promote", "late_delivery", str(number))
    assert refused.stderr == (
        f"error: late_delivery version {number} is already archived; nothing was changed. A version is judged once. Train "
        f"another: tenfold train {place}/rolled.py late_delivery.\n"
    )
    assert again.stderr == (
        f'error: no rollout to undo of model "late_delivery". The last one, of version {number}, was undone already, and '
        f"version 2 is in production. To go back to the one before: tenfold rollback {place}/rolled.py late_delivery.\n"
    )
    assert ask(place, "status")["production"] == {"late_delivery": 2}


def test_of_a_candidate_that_is_about_to_be_undone_no_promise_is_made(place, project):
    number = ask(place, "train")["version"]
    assert project("promote", "late_delivery", str(number)).exit_code == 0
    approved = project("rollout", "approve").stdout
    assert approved.endswith("; it is promoted when its steps are over and nothing speaks against it\n")
    assert told(project("rollback", "late_delivery", "--json"))["version"] == 1
    why = "it was compared with version 2, and version 1 is in production now"
    for act, done in (("pause", "paused"), ("resume", "resumed")):
        assert project("rollout", act, "--why", "see: tenfold skew PROJECT.py").stdout == (
            f"late_delivery version {number}: {done}, shadow; it is undone all the same, as soon as a controller looks: {why}\n"
        )
    to_do = f"nothing, it is undone as soon as a controller looks; at once: tenfold rollout undo {place}/rolled.py "
    document = told(project("rollout", "show", "--json"))["rollout"]
    assert (document["now"]["action"], document["now"]["why"]) == ("undo", why)
    assert document["to_do"].startswith(to_do)
    assert f"\n  to do: {to_do}" in project("status").stdout
    for text in (project(*verb).stdout for verb in (["rollout", "show"], ["audit"], ["status"])):
        assert "see: tenfold" in " ".join(text.split())
        assert "PROJECT.py" not in text
    undone = told(project("rollout", "undo", "--json"))
    assert (undone["rollout"]["phase"], undone["follows"]) == ("undone", "version 2 answers everything")
    assert told(project("rollout", "show", "--json"))["rollout"]["to_do"].startswith("mend what is said")


def test_of_a_model_that_is_not_declared_any_more_it_says_how_to_end_what_is_open(place, project):
    number = ask(place, "train")["version"]
    begun = project("promote", "late_delivery", str(number))
    assert begun.exit_code == 0, begun.stderr
    file = place / "renamed.py"
    file.write_text(
        "from dataclasses import replace\n"
        "from tenfold import Project, Release\n"
        "from tests.examples.shop import late_delivery\n"
        "project = Project('shop', releases=[Release(replace(late_delivery, name='late_order'))])\n"
    )
    options = ["--home", str(place / "home"), "--clock", str(place / "clock")]
    for act in ("show", "undo"):
        found = CliRunner().invoke(cli, ["rollout", act, str(file), "late_delivery", *options])
        assert (found.exit_code, found.stderr) == (
            2,
            f'error: model "late_delivery" is not declared any more, so nobody moves on its version {number}, in shadow beside '
            "version 1. Declare the model and its release again, under this name, to look at it or to end it: tenfold rollout "
            f"show|undo {file} late_delivery.\n",
        )
    assert told(project("rollout", "undo", "--json"))["rollout"]["phase"] == "undone"
    gone = CliRunner().invoke(cli, ["rollout", "show", str(file), "late_delivery", *options])
    assert gone.stderr.startswith('error: no model "late_delivery". Did you mean '), gone.stderr
