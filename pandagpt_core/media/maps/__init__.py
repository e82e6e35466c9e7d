"""Maps of one number a pixel: depth and temperature, with the units that a file names itself."""
