"""Spatial memory: key frames with depth and pose, drawn from a new viewpoint."""
