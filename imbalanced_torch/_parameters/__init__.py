"""What a hyperparameter may be, and what is said of one that is wrong."""
