"""The engines and what they work on: lazy frames, Delta tables and their commits, the Spark session, the home folder."""
