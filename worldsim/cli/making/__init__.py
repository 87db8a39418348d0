"""``worldsim make-world``: from a folder of recordings to a playable world, by the commands that train and judge."""
