"""What a federated training leaves for people: `federation.html`, its figures, and the command line's tables."""
