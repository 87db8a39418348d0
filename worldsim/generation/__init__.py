"""Films made by a world: from text, pictures and videos; extended, looped, joined, edited; with where they are from."""
