"""Rounds: who is asked, what is made of the answers, what is measured and put on record."""
