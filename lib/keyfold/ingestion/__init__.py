"""TODO ingestion."""
