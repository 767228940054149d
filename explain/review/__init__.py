"""`medimg review`: a page on this machine that says what a Run says of an image that is dropped on it."""
