--- The command that the page of the example policies gives is one that works.
local read = require("support.files").read

local ROOT = debug.getinfo(1, "S").source:match "^@(.-)spec/docs/[^/]*$"

describe("The page of the example policies", function()
  it("gives a command that runs a spec", function()
    local command = read(ROOT .. "examples/policies/README.md"):match "```sh\n(.-)\n```"
    local pipe <close> = assert(io.popen(("cd '%s' && { %s\n} 2>&1"):format(ROOT == "" and "." or ROOT, command)))
    local output = pipe:read "a"
    assert.is_true(pipe:close(), output)
    assert.matches("[1-9]%d* successes / 0 failures / 0 errors", output)
  end)
end)
