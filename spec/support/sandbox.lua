--- Scripts in the sandbox, without a manager or a store.
local kernel = require "keel.kernel"

local M = {}

--- The default budget of a policy, with room in time: these specs may run on a busy machine, under a sanitizer.
M.budget = { instructions = 1000000, seconds = 20, bytes = 16 << 20 }

--- Runs a script on arguments. Gives true and the result; or false, what, reason, line, as the box does.
function M.run(source, ...)
  return M.call(M.budget, source, ...)
end

--- The same under another budget; what is not given is as above.
function M.call(budget, source, ...)
  local box, problem = kernel.sandbox(source, "script")
  if not box then return false, "refused", problem end
  return box:call(budget.instructions or M.budget.instructions, budget.seconds or M.budget.seconds,
    budget.bytes or M.budget.bytes, ...)
end

--- The result of a script, which must not fail.
function M.result(source, ...)
  local ok, result, reason, line = M.run(source, ...)
  assert(ok, ("%s: %s, line %s"):format(result, reason, line))
  return result
end

--- The value of an expression in the sandbox.
function M.eval(expression, ...)
  return M.result("return function(...) return { (" .. expression .. ") } end", ...)[1]
end

--- Asserts that a script failed, saying `words`; gives the line.
function M.fails(words, source, ...)
  local ok, what, reason, line = M.run(source, ...)
  assert(not ok and (what == "failed" or what == "refused"), ("expected a failure, got %s %s"):format(ok, what))
  assert(reason:find(words, 1, true), ("%q does not say %q"):format(reason, words))
  return line
end

return M
