"""One fit: from the estimator's parameters and rows to what trains, and what it trains with."""
