"""Gamepads: what their buttons, sticks and triggers are called, and what of them is held."""
