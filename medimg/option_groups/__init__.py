"""Groups of options that several commands, or several sources, share. Nothing heavy is imported here."""
