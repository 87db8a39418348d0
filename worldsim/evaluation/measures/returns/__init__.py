"""Views that are left and come back to: by turning away, by recorded walks, with blocks that changed."""
