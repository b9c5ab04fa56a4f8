"""From landmarks to a fit: identity, pose, expression, gaze and camera of all frames together."""
