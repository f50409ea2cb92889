"""The command line: mlops."""
