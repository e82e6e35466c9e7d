"""`pandagpt fetch`: the originals' published files found, downloaded, verified, and put into one model folder."""
