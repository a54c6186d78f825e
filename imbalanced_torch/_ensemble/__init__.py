"""The default net: members side by side, each with its own held-out fold, on columns of any scale."""
