"""Sites of their own: each runs its own installed code, and Flower carries signed messages between them."""
