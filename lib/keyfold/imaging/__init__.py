"""Images: safe decoding, operations, output files."""
