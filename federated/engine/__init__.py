"""What a round asks of any engine: its contract, states, updates and records."""
