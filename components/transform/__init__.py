"""Transform: the use case's `features()` over the raw tables, and the split."""
