"""Readers of CSV and JSON lines that account for every byte.

Records partition the bytes of a file. A regular expression decides which records are well formed. Only those are parsed, and the number of
rows is checked against the number of records. Every other record is returned with its line number, a reason and its text.
"""
