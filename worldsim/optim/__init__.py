"""Optimizers, averaged weights, schedules and training state that resumes exactly."""
