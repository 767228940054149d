"""What comes from strangers, made harmless before it is used: text, names of files, cells, sizes of images."""
