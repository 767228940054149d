"""Synthetic rows of a table: CTGAN and TVAE (Xu et al. 2019, arXiv:1907.00503) on the ctgan library's networks."""
