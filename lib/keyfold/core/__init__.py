"""What all else rests on: types, hashes, digests, SQL text, names of columns."""
