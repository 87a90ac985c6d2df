"""What is moved in the long test: containers, each with clients that check what they get."""
