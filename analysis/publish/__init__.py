"""A finished study as a folder for others: its grid, its source prompts, and what is known of them."""
