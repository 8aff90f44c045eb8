"""What `auformer verify` does: counts, images, published numbers, and the likely reason of a difference."""
