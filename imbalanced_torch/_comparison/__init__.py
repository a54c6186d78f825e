"""Strategies against imbalance, compared on one's own data: over the same folds, with tests, a finding and a page."""
