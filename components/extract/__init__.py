"""Extract: the sources that the config names, as Parquet."""
