"""Branches of one past in the engine that recorded it, and how dreams compare with them."""
