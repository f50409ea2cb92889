"""The options that the benchmarks share."""

import argparse


def is_quick(program: str, description: str | None) -> bool:
    """Read the command line; tell whether the quick form is wanted.

    Args:
        program: The module.
        description: What it measures.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--quick", action="store_true", help="few rows, one round: whether it works, not how fast it is")
    return bool(parser.parse_args().quick)
