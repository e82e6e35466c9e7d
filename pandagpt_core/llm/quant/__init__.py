"""Matrix products in fewer bits."""
