"""What a fitted estimator and a search have found, drawn as scikit-learn's displays are; they need matplotlib."""
