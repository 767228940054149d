"""Norms of every example's gradient without every example's gradient: one file per kind of layer."""
