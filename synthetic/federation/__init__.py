"""Generators trained across a federation's clients, whose rows and images stay with them."""
