"""What is made of logits: probabilities at a class prior, and the decision for a label."""
