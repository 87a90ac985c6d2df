"""Small C programs, one a kind of state that CRIU keeps; each checks itself (programs/state.h)."""
