"""Differential privacy of a federation: patients by DP-SGD at each site, or whole clients by noise at the server."""
