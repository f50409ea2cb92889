"""Runs a step as kfp's executor does, with a log that is the step's own: `python -m components.executor`.

kfp's executor logs where the code lies and the whole input, config included: 40 to 120 lines, of which the
step wrote one or two.
"""

import logging
import os
import sys

from kfp.dsl.executor_main import executor_main

# MLflow warns of a pip that it does not find and a git that it does not need: no user can act on that.
QUIET = {"MLFLOW_LOGGING_LEVEL": "ERROR", "GIT_PYTHON_REFRESH": "quiet"}

if __name__ == "__main__":
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # kfp's own basicConfig, which asks for INFO, does nothing once there is a handler.
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="%(levelname)s: %(message)s")
    executor_main()
