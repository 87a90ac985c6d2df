"""CRIU's dump without the memory that has travelled already: a skeleton."""
