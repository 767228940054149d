"""A Run to a model that others serve: signatures, parity, model card."""
