"""Generators of rows across clients."""
