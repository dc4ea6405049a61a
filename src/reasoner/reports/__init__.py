"""What a person reads of a run: text tables, notebook HTML, plots, the model card. They read a `Run` and write text."""
