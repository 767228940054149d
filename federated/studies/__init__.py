"""Studies of federation: the step of those that their files declare, and federated-hospitals."""
