"""The command `mlops`: it and its processes import this checkout's packages, not those of a folder that PYTHONPATH names."""

import os
import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parent.parent)

sys.path[:] = [ROOT, *(path for path in sys.path if path not in os.environ.get("PYTHONPATH", "").split(os.pathsep))]
os.environ["PYTHONPATH"] = ROOT
