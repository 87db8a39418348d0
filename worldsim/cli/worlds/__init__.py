"""Commands that play, roll out, judge and compare worlds."""
