"""MLflow: its runs, registered models and their files."""
