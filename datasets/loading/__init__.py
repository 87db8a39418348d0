"""What training and worlds read: clips, latents, start clips, facts."""
