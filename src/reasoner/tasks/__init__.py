"""Tasks, one file each: the schema of a row, encoding, decoding and scores."""
