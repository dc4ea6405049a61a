"""Task heads, one file each: layers (or the transformers class that lends them), loss and prediction."""
