"""Episodes for other programs."""
