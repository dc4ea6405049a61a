"""What is wrong with the data, before an hour is spent: one file a kind of finding. Nothing is trained here."""
