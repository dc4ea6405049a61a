"""Many trainings on the same rows: variants compared with an equal budget, settings searched."""
