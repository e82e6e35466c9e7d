"""Commands that make, train and measure model folders."""
