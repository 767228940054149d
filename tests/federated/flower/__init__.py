"""Tests of federated.flower."""
