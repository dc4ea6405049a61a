"""Small changes of rows that leave what is right as it is."""
