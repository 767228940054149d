"""Steps of learning from few labels: Keras models that share a classifier's layers and train them otherwise."""
