"""Programs that the benchmarks run in containers and beside them; standard library only."""
