"""The small encoder that keeps where things are: its network, and what a row of it means."""
