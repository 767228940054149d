"""Scores of explanations against known findings."""
