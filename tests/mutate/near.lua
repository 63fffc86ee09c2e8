--- Which tests are the nearest to a file: they notice first what is broken in it.
local M = {}

--- Parts of paths, the longest first -> whether the C tests see them, and the specs that do.
local NEAR = {
  { "kernel/binding/sandbox/", false, "sandbox strategies" },
  { "kernel/binding/", true, "binding store runs runtime events" },
  { "kernel/command/", false, "cli" },
  { "kernel/housekeeping/", true, "store" },
  { "kernel/worker/", true, "runtime" },
  { "kernel/event/", true, "events runtime" },
  { "kernel/run/", true, "runs ownership store" },
  { "kernel/", true, "store ownership" },
  { "lua/keel/cli/", false, "cli" },
  { "lua/keel/executor/", false, "executor" },
  { "lua/keel/runtime/", false, "runtime" },
  { "lua/keel/diagnostics/", false, "runtime" },
  { "lua/keel/dispatcher/", false, "dispatch" },
  { "lua/keel/store/", false, "store runs" },
  { "lua/keel/policy/", false, "strategies ownership runtime" },
  { "lua/keel/strategies/", false, "strategies" },
  { "lua/keel/", false, "runs ownership strategies binding retry" },
}

--- The tests of a file as { what they are, command of the shell }.
---@param path string
---@return string[][]
function M.tests(path)
  for _, near in ipairs(NEAR) do
    if path:sub(1, #near[1]) == near[1] then
      local tests = {}
      if near[2] then
        tests[1] = { "the unit tests", "timeout 300 ctest --preset dev -L unit --stop-on-failure --parallel 2" }
      end
      for folder in near[3]:gmatch "%a+" do
        tests[#tests + 1] = { "spec/" .. folder, "timeout 300 $BUSTED --no-keep-going spec/" .. folder }
      end
      return tests
    end
  end
  return {}
end

return M
