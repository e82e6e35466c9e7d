"""Recordings of accelerometer and gyroscope, read by the order, the units and the rate that they state."""
