"""The page that answers in words."""
