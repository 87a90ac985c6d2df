"""What the container's root has set in its own network namespace, told here and put in there."""
