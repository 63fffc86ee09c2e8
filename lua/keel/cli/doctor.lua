--- keel doctor: what is wrong, in plain words, and what to do about it.
local checks = require "keel.cli.checks"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"

local function print_finding(finding)
  print(("%s  %s"):format(output.paint(finding.severity), finding.message))
  print("    " .. finding.advice)
end

return {
  about = "Looks at the store and at what is in it. It changes nothing. 0 when all is well, 1 when something is wrong.",
  more = "Each finding has a severity, what is wrong, and what to do. It reads the whole store: that takes time in"
    .. " proportion.",
  run = function(given)
    local path, problem = opening.path(given)
    if not path then return nil, problem end
    local findings = checks.file(path)
    local store <close>, err = kernel.open(path, { create = false, readonly = true })
    if store then
      checks.store(store, findings)
    elseif #findings == 0 or err.code ~= "store_missing" then
      findings[#findings + 1] = checks.unreadable(path, err)
    end
    for _, finding in ipairs(findings) do
      if given.json then output.json(finding) else print_finding(finding) end
    end
    if #findings > 0 then return 1 end
    if not given.json and not given.quiet then print(("%s: all is well"):format(path)) end
    return 0
  end,
}
