"""What `serve` and `run` say of the names they answer for, before anything is started."""

import socket

import pytest
from click.testing import CliRunner

from tenfold.cli import cli
from tests.unit.cli_project import SHOP, ask, run

NOTE = (
    "no token yet: whom a proxy passes on to api.bank.example may ask for everything{}. "
    f"Make one: tenfold tokens create {SHOP} NAME --scope predict.\n"
)


def refused(place, verb, *args):
    """Return what a server says that cannot have its port."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = run(place, verb, "--port", str(port), *args)
    said, found, _ = result.stderr.partition(f"error: port {port} is used")
    assert (result.exit_code, bool(found)) == (75, True)
    return said


@pytest.mark.parametrize("verb", ["serve", "run"])
def test_a_name_without_a_token_is_told(tmp_path, verb):
    assert refused(tmp_path, verb) == ""
    assert refused(tmp_path, verb, "--name", "api.bank.example") == NOTE.format("")
    assert refused(tmp_path, verb, "--name", "api.bank.example", "--rate", "5/s") == NOTE.format(
        "; all of them share the rate of 5/s"
    )
    ask(tmp_path, "tokens create", "shop", "--scope", "predict")
    assert refused(tmp_path, verb, "--name", "api.bank.example") == ""


@pytest.mark.parametrize("verb", ["serve", "run"])
def test_a_wildcard_is_refused(tmp_path, verb):
    result = run(tmp_path, verb, "--name", "*.wild.example")
    assert result.exit_code == 2
    assert result.stderr.startswith('error: --name "*.wild.example" is no name of a host: ')


def test_a_list_without_tokens_says_who_may_ask(tmp_path):
    ask(tmp_path, "tokens create", "shop", "--scope", "predict")
    ask(tmp_path, "tokens revoke", "shop", "--forget")
    assert run(tmp_path, "tokens list").stdout == (
        "no tokens: everybody on this machine may ask, and whom a proxy passes on by a --name\n"
    )


@pytest.mark.parametrize("verb", ["serve", "run"])
def test_help_says_whose_rate_it_is_behind_a_proxy(verb):
    said = " ".join(CliRunner().invoke(cli, [verb, "--help"]).stdout.split())
    assert "X-Forwarded-For is not read: behind a proxy, only tokens have a rate of their own." in said
    assert "Who comes by a proxy may ask unless there is a token." in said
