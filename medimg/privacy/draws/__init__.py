"""What a private step draws: by the patient whom it belongs to, or from the secret seed."""
