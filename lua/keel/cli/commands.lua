--- The subcommands there are, in the order of the help. A group has commands of its own, and perhaps a `default`, which
--- is meant when none is named.
return {
  { name = "exec", module = "keel.cli.exec", summary = "run a command as a durable run" },
  { name = "runs", summary = "look at runs, stop them, try them again", commands = {
    { name = "list", module = "keel.cli.runs.list", summary = "the newest runs" },
    { name = "show", module = "keel.cli.runs.show", summary = "all about a run, and why it is not running" },
    { name = "cancel", module = "keel.cli.runs.cancel", summary = "stop runs" },
    { name = "wait", module = "keel.cli.runs.wait", summary = "wait until runs have ended" },
    { name = "retry", module = "keel.cli.runs.retry", summary = "a new run of the same work" },
    { name = "delete", module = "keel.cli.runs.delete", summary = "delete runs that have ended" },
    { name = "prune", module = "keel.cli.runs.prune", summary = "delete what is old" },
  } },
  { name = "events", module = "keel.cli.events", summary = "what happened, and what happens" },
  { name = "workers", summary = "look at the workers of a runtime", commands = {
    { name = "list", module = "keel.cli.workers.list", summary = "the workers of a runtime" },
    { name = "show", module = "keel.cli.workers.show", summary = "all about a worker" },
    { name = "transcript", module = "keel.cli.workers.transcript", summary = "what a worker was told" },
  } },
  { name = "pause", module = "keel.cli.pause", summary = "let nothing of a name start" },
  { name = "resume", module = "keel.cli.resume", summary = "let it start again" },
  { name = "limits", summary = "how many may run of what", default = "list", commands = {
    { name = "list", module = "keel.cli.limits.list", summary = "what is set, who holds it and who waits" },
    { name = "set", module = "keel.cli.limits.set", summary = "how many may hold a slot, or start with a rate" },
    { name = "remove", module = "keel.cli.limits.remove", summary = "take a limit away" },
  } },
  { name = "doctor", module = "keel.cli.doctor", summary = "what is wrong, and what to do about it" },
  { name = "reconcile", module = "keel.cli.reconcile", summary = "recover what dead processes have left" },
  { name = "stats", module = "keel.cli.stats", summary = "how much is in the store" },
  { name = "backup", module = "keel.cli.backup", summary = "copy the store while it is used" },
  { name = "restore", module = "keel.cli.restore", summary = "put a backup in the place of the store" },
  { name = "copy", module = "keel.cli.copy", summary = "copy the store to another place, or to a server" },
  { name = "compact", module = "keel.cli.compact", summary = "give room back to the disk" },
  { name = "run", module = "keel.cli.run", summary = "run a Lua script with keel in it" },
  { name = "top", module = "keel.cli.top", summary = "a live screen of what runs and waits" },
  { name = "repl", module = "keel.cli.repl", summary = "a prompt for Lua with the store at hand" },
  { name = "version", module = "keel.cli.version", summary = "tell which version this is" },
  { name = "help", module = "keel.cli.help", summary = "explain a command" },
}
