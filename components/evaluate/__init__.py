"""Evaluate: the challenger against the champion on the same test rows."""
