"""What was played, as a tree of moments, and as a file."""
