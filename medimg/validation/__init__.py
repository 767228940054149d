"""A Run on another hospital's patients: what differs, what it costs, and what to do about it."""
