"""Studies of explanations."""
