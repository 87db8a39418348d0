"""What everything agrees on: actions, poses, facts, tasks, batches of latents. Plain values."""
