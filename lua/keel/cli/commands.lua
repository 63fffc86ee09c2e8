--- The subcommands there are, in the order of the help.
return {
  { name = "exec", module = "keel.cli.exec", summary = "run a command as a durable run" },
  { name = "version", module = "keel.cli.version", summary = "tell which version this is" },
  { name = "help", module = "keel.cli.help", summary = "explain a command" },
}
