"""The benchmark suite: workloads, peers, report."""
