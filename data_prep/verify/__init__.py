"""What `auformer verify` does: counts, pictures, published numbers, and the likely reason of a difference."""
