"""A Dataset looked over before training: counts, leakage, conflicts, broken files, shift between sites."""
