"""Training: phases, frozen features, checkpoints, and the loop that all of them share."""
