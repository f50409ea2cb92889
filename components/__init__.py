"""One folder per step: component.py is its Kubeflow face, beside it the plain Python that does the work."""
