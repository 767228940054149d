"""Chest radiographs drawn by rule, so that the truth is known to the pixel."""
