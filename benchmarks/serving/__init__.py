"""The model server beside its peers: `python -m benchmarks.serving`."""
