"""The playable world: state, stepping, branching and its confidence."""
