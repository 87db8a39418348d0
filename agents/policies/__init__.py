"""Who plays: scripts, planners, learned policies, at random."""
