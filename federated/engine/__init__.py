"""What a round asks of any engine: its contract, states, updates, records and local training."""
