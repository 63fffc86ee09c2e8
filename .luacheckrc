-- luacheck: tests/lint.sh runs it.
std = "lua54"
max_line_length = 120

-- The tests' words: describe, it, assert with its modifiers.
files["spec"] = { std = "+busted" }
files["examples/policies/*_spec.lua"] = { std = "+busted" }

-- Signatures for the language server: the bodies are empty.
files["lua/keel/_meta"] = { ignore = { "211", "212", "213" } }
