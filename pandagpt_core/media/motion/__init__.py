"""Recordings of accelerometer and gyroscope, read by what they say of themselves: order, units, rate."""
