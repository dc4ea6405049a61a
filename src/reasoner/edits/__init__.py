"""Edits of rows that leave what is right as it is, and what a model makes of them."""
