"""Where the small default model's data come from: public packages, fetched by name, and what is made of them."""
