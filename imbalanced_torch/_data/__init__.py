"""Data in: X, y and weights checked; rows of any kind as tensors, gathered a batch at a time; rows held out."""
