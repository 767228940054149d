"""Dataset to tf.data: pixels are decoded once into a cache, then streamed, augmented and balanced."""
