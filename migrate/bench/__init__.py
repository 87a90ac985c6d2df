"""The benchmark suite: workloads, peers, report. Each benchmark is a module that says what it does."""
