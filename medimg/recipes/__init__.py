"""Recipes: what to train is chosen by the data and the machine, on training and validation rows alone."""
