"""A blind study: people choose between what two worlds, or a world and the game, make of the same past and actions."""
