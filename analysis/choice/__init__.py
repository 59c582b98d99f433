"""Which source to choose, and which tasks to join."""
