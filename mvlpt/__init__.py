"""The command line: studies, recommendations and tables of others."""
