"""MLflow: runs, registered models and the files of a model."""
