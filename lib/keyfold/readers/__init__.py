"""Readers of CSV and JSON lines: prove, then parse.

Records are a partition of the bytes. A regular expression proves which of them are sound, and only those reach a parser, guarded by a
count; all others are told with line, reason and raw text.
"""
