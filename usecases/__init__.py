"""One folder per use case: config.yaml (what) and features.py (how the table is made)."""
