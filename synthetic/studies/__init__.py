"""Steps of declared studies: `medimg synthesize` and `medimg judge`."""
