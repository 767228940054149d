"""Differential privacy by patient: draws, clipped sums and noise, accounting, ledgers, and what is said of them."""
