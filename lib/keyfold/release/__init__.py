"""When a version is promoted."""
