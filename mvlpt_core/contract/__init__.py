"""What both packages agree on; free of torch."""
