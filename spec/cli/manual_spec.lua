--- The manual page: keel(1).
local command = require "support.command"
local process = require "support.process"
local support = require "support"

local function page()
  local result = command.run { "help", "--man" }
  assert.equal(0, result.code)
  return result.output
end

-- As somebody reads it, on an endless line.
local function shown(text)
  local path = support.dir() .. "/keel.1"
  do
    local file <close> = assert(io.open(path, "w"))
    assert(file:write(text))
  end
  -- man keeps its own processes from doing what a sanitizer does.
  local child = process.start({ "env", "-u", "LD_PRELOAD", "man", "--warnings", "-E", "ascii", "-l", path },
    { env = { MANWIDTH = "10000", MANPAGER = "cat", LC_ALL = "C.UTF-8" } })
  assert.equal(0, (child:wait()))
  assert.equal("", child.errors)
  return child.output
end

describe("the manual page", function()
  after_each(support.clean_up)

  it("is understood by man without a warning", function()
    local text = shown(page())
    for _, title in ipairs { "NAME", "SYNOPSIS", "COMMANDS", "COMMON OPTIONS", "EXIT STATUS", "EXAMPLES" } do
      assert.is_truthy(text:find("\n" .. title .. "\n", 1, true), title)
    end
    assert.is_nil(text:find("[\128-\255]"))
  end)

  it("says of every command and option what the help says", function()
    local text = shown(page())
    local function look(name)
      local help = command.run({ "help", table.unpack(name) }).output
      local full = "keel " .. table.concat(name, " ")
      if help:find "^Usage: .- COMMAND …" then
        for word in help:gmatch "\n  (%l+) " do
          local longer = table.move(name, 1, #name, 1, {})
          longer[#longer + 1] = word
          look(longer)
        end
        return
      end
      local from = text:find("\n   " .. full .. " ", 1, true)
      assert.is_truthy(from, full)
      for option in help:gmatch "\n *(%-%-[%l-]+)" do
        local found = text:find("%f[%w-]" .. option:gsub("%-", "%%-") .. "%f[^%w-]", from)
        assert.is_truthy(found, full .. " " .. option)
      end
    end
    look {}
  end)
end)
