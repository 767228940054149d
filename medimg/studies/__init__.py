"""Studies: many trainings behind one question, as a table and a figure."""
