"""What a run says to people: a live view or a line every so often, failures as they come, the worst news at the end."""
