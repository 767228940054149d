"""A DCGAN across clients."""
