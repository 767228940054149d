"""Aggregation rules that a few faulty or hostile clients can't steer: median, trimmed mean, Krum.

Each takes the clients' updates as vectors and gives one vector and every client's share in it. They see each update
in the clear; a secure sum hides them. So the two exclude each other (`rules.check_compatible`).
"""
