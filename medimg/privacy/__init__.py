"""Differentially private training, its ledger, and the audit that tests what it claims."""
