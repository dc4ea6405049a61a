"""The model that a training goes on from: what is taken over from it, and how what it knows is kept."""
