"""What a Run says of files without labels, and what in them is unlike its training."""
