"""Data of the small default model: public packages, fetched by name, and the media made of them."""
