"""Ingestion: rows of files go to a Delta table or to quarantine."""
