"""Playing in a window or into a video."""
