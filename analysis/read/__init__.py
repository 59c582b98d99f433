"""Read tables, task features and a study's files."""
