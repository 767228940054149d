"""More than one machine: a worker at each site beside its data, and the coordinator that asks them."""
