"""The sub-commands of `mvlpt`: options and examples, and what is printed. What they do is imported when they
are called."""
