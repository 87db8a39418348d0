"""The parts of an evaluation, one class and one file each."""
