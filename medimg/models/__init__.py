"""Image classifiers behind one contract: raw pixels 0..255 float32 in, logits out, preprocessing inside."""
