"""Register: the challenger as a version in MLflow's registry, with a served form that answers as scikit-learn does."""
