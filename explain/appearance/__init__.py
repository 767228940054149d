"""How much brightness, texture and shape go with what a model answers."""
