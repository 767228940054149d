"""How numbers, figures and pages look, one way everywhere."""
