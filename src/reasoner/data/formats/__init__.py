"""The file formats and in-memory tables that rows are read from: one file a format."""
