"""A model folder's cache of image features: built from a folder of pictures, or converted from a faiss index."""
