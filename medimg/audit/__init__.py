"""The privacy audit of a Run: who can tell, from the model, who was in its training part."""
