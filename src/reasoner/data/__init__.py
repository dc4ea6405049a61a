"""From sources to batches: reading, checking, aligning, windowing, splitting, batching. No task is known here."""
