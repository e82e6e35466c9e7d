"""Model folders that are made of files which a package registry holds in parts."""
