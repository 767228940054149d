"""What clients do in a round, one algorithm a file, and the table of the strategies that are made of them."""
