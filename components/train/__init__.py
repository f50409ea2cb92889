"""Train: a search over the candidates of the config, the best of them fitted."""
