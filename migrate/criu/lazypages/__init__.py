"""A page server of our own, in place of `criu lazy-pages`: fills a restored container's memory."""
