"""Media on their way in: multipart, links, uploaded files, remote URLs."""
