"""The wire and the store: messages, keys, blobs, and the two sides that use them."""
