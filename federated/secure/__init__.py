"""Sums of clients' vectors that the server can't take apart: pairwise masking and additive CKKS.

Every party's code is here and a message is bytes, so each could run at its own site; `masked_sum` and `ckks_sum` play
all parties in one process. Nothing here knows of models: flat float vectors in, their weighted sum out.
"""
