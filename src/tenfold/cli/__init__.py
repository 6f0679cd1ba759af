"""The command line: `tenfold VERB PROJECT ...`. A command's module is imported when it is called, not before."""

import sys
from importlib import import_module
from keyword import iskeyword
from typing import Any

import click

from tenfold.cli.errors import Settings, report, verbose
from tenfold.core.errors import suggest

COMMANDS = {
    "ingest": ("data", "Check the rows of a file and append them to the log."),
    "process": ("data", "Fold the log into online states and lake tables."),
    "retire": ("data", "Remove the online states of definitions that are gone."),
    "rejects": ("data", "Show the rows that were set aside, by reason."),
    "features": ("data", "Read the features of a row online, with their ages."),
    "explain": ("data", "Show the very records behind a feature's value."),
    "train": ("training", "Train a version on the newest mature history."),
    "runs": ("training", "List runs with their metrics; show one, compare two."),
    "models": ("models", "List versions with stages; show, register, rebuild one."),
    "promote": ("releases", "Judge a version by the gates and promote it."),
    "rollout": ("rollout", "Show a candidate on its way; approve, pause, resume, undo it."),
    "rollback": ("releases", "Make the previous Production version Production again."),
    "audit": ("releases", "List every decision: what, by whom, and why."),
    "replay": ("releases", "Run history through the whole loop on a virtual clock."),
    "mirror": ("elsewhere", "Send runs and versions to the mirrors; say what is behind."),
    "import": ("elsewhere", "Take over runs and versions of another system, such as MLflow."),
    "deliver": ("deliver", "Send answers to the places that releases name; say what waits."),
    "predict": ("predictions", "Answer one row as of now."),
    "score": ("predictions", "Score and log all rows of a period."),
    "monitor": ("watch", "Show how served predictions did, and which features drift."),
    "skew": ("watch", "Recompute everything served online and compare it bit by bit."),
    "status": ("watch", "Show where everything stands."),
    "run": ("processes", "Run worker, controller and server until interrupted."),
    "serve": ("processes", "Answer HTTP requests until interrupted."),
    "tokens": ("tokens", "Make, list and revoke the tokens with which clients may ask."),
    "worker": ("processes", "Keep states and lake tables current until interrupted."),
    "controller": ("processes", "Judge monitors and retrain when it is due, until interrupted."),
    "doctor": ("doctor", "Check this machine, and that batch and online agree on it."),
}
"""The module and the line of help of each command."""


class Commands(click.Group):
    """A group that knows its commands by name and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's signature
        """Return the names in the order of a project's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; an unknown name gets the nearest one."""
        if cmd_name in COMMANDS:
            module = import_module(f"tenfold.cli.{COMMANDS[cmd_name][0]}")
            command: click.Command = module.__dict__[f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name]
            return command
        if ctx.resilient_parsing:
            return None
        raise click.UsageError(f'no command "{cmd_name}".{suggest(cmd_name, COMMANDS, len(COMMANDS))}', ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - Click's
        """Write the commands from the table above, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def main(self, args: Any = None, prog_name: str | None = None, *_: Any, **extra: Any) -> Any:
        """Run a command and exit with the code that says what came of it."""
        settings = Settings()
        # also where a mistake comes before it is read
        as_json = "--json" in (sys.argv if args is None else args)
        try:
            code = super().main(args, prog_name, standalone_mode=False, obj=settings, **extra)
        except Exception as error:  # noqa: BLE001 - the outermost place: every error becomes a message and a code
            code = report(error, verbose=settings.verbose, project=settings.project, as_json=as_json)
        sys.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@verbose
@click.version_option(package_name="tenfold")
def cli() -> None:
    """A complete production ML system, declared once in Python.

    PROJECT is the file that declares it, such as examples/flights/project.py, or FILE:NAME when it holds several.
    """


def main() -> None:
    """Run the command in `sys.argv`."""
    cli.main(prog_name="tenfold")
