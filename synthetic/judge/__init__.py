"""Judging synthetic data against held-out real patients: utility, fidelity, diversity, privacy, and a verdict."""
