"""The data path beside its peers: `python -m benchmarks.data.objects`, and the others of this folder."""
