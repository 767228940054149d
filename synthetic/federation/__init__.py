"""Generators trained across a federation's clients, whose rows and images stay with them."""

# Of environment.json: what sites of their own know a training by.
NAME = "federation"
