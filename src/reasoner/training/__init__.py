"""The loop: it knows a model that gives a loss, an iterable of batches and a callable that scores. No task, no data."""
