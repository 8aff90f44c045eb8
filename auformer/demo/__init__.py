"""The demo: faces rendered, AUFormer and a linear probe trained and compared, and a page about them."""
