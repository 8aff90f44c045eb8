"""Networks that speak: VL-FAU's branches with sentence decoders, and AU-LLaVA's language model; see each module."""
