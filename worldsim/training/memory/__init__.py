"""Training of what a spatial memory consists of: depth completion, ego-motion, compositor."""
