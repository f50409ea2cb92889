"""Load: the table, the predictions and the pages to where they are wanted."""
