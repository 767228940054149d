"""Synthetic tables and images and their judges: torch lives only here."""
