"""The command line: options, checks before Spark starts, errors as sentences, exit codes."""
