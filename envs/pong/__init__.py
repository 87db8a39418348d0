"""Atari's Pong: its emulator, and what can be read off its pictures."""
