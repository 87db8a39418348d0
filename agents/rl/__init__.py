"""Agents that learn by reward or from recordings."""
