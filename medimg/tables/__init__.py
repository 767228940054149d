"""Tables: health-record data from raw columns to the numbers that a model takes."""
