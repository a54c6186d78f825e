"""From logits and class codes to one loss a row, weighted by class and by row, and back to probabilities."""
