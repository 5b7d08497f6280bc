"""One run of a job: its conf, its tables, its steps, its identity."""
