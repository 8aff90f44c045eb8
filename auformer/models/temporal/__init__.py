"""Networks that see clips: MDHR, the same head on a frozen ViT, AUFormer in time."""
