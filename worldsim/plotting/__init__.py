"""Charts, pictures and HTML pages: what reports and rollouts show."""
