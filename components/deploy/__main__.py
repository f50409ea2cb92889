"""The operator's commands inside a cluster: `python -m components.deploy status flights`. `mlops status --namespace` starts them as a Job."""

import argparse
import sys

from core.errors import UserError, shown
from core.signals import heed_sigterm


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 1 when it could not be done."""
    parser = argparse.ArgumentParser(prog="python -m components.deploy", description="What serves a use case, what did, and another version instead.")
    parser.add_argument("command", choices=("deploy", "resume", "rollback", "history", "status"))
    parser.add_argument("usecase")
    parser.add_argument("version", nargs="?", help="required by deploy; rollback takes the champion before the present one by default")
    parser.add_argument("--reason", default="", help="why, for the history")
    given = parser.parse_args(arguments)
    if given.command == "deploy" and not given.version:
        parser.error("deploy needs a version")
    heed_sigterm()
    try:
        print(shown(_run(given)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: stopped before it had ended, everything is as it was", file=sys.stderr)
        return 1
    return 0


def _run(given: argparse.Namespace) -> str:
    from components.deploy.status import history, status

    match given.command:
        case "history":
            return "\n".join(history(given.usecase))
        case "status":
            return status(given.usecase)
    from components.deploy import commands

    match given.command:
        case "deploy":
            return commands.deploy(given.usecase, given.version, given.reason)
        case "resume":
            return commands.resume(given.usecase)
        case _:
            return commands.rollback(given.usecase, given.version, given.reason)


if __name__ == "__main__":
    sys.exit(main())
