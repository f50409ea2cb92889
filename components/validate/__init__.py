"""Validate: the raw tables against the contract in the config."""
