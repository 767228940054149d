"""Data: the one form that every source becomes and everything after reads, and what keeps its parts apart."""
