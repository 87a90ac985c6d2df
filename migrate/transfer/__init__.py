"""SSH connection, agent, wire protocol and file transfer. Knows bytes, not containers."""
