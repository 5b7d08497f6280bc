"""From files to a Delta table: what can be kept, and what goes to quarantine."""
