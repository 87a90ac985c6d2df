"""Click commands: parse, call, render. One file a command; heavy imports inside the command."""
