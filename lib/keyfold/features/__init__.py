"""Features: their kinds, how they are fitted, and their values in Spark and in Arrow."""
