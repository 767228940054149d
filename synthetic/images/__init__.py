"""Synthetic images by a class-conditional DCGAN in Keras."""
