"""Report: what the run did and decided, on one page, whatever happened."""
