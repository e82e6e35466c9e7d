"""Point clouds for panda-mini-bind: meshes of a package, a small encoder, and figures of meshes held out."""
