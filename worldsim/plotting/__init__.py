"""Charts, pictures and HTML pages: what reports and rollouts show."""

import os

# SDL, once it draws, would take SIGTERM for a click on a window's cross, and the program would go on.
os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
