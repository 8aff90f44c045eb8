"""Prediction of large collections by many processes: Ray, array jobs, and joining what they wrote."""
