"""Point-Bind's encoder of 3D point clouds."""
