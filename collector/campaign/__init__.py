"""The campaign engine: owns deployments, drives runners and observers, fetches sealed blocks."""
