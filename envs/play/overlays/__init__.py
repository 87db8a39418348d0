"""What lies over the picture: menus, help, the timeline, starts to choose from."""
