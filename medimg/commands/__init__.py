"""The commands of this package: parse, call one function, print. Nothing heavy is imported until one runs."""
