"""Profiles files and drafts a first conf."""
