"""Clients: who takes part, their rows on their own disk, and what all must agree on first."""
