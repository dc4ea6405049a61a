"""Less labelled data: which rows a person should label next, and which the model may label itself."""
