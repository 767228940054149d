"""A source's files to a Dataset's folder."""
