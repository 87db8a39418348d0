"""Recording play into episode stores."""
