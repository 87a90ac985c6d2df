"""Which hosts there are: an inventory in a file, and what they answer when they are asked."""
