"""The model server."""

NAME = "kubeflow-mlops-template"
VERSION = "0.1.0"  # as in pyproject.toml: the image holds the code alone, and no package that could be asked
