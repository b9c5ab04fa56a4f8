"""From pictures to landmarks: the face detector, the landmark network, other sources, and who is followed."""
