"""A model behind HTTP: requests read and limited, run together, answered; and a page to try it."""
