"""How alike two tasks are."""
