"""The graphs, each readable as a table of contents."""
