--- The options of a torture, from its command line.

--- Sets what the command line says; a number, a text or a switch, as the default is. Ends the process when it makes no
--- sense.
---@param options table the defaults, by name
return function(options)
  local function refuse(...)
    io.stderr:write("torture: ", ...)
    io.stderr:write "\n"
    os.exit(2)
  end
  local i = 1
  while arg[i] do
    local name = arg[i]:match "^%-%-(.+)$"
    if name == nil or options[name] == nil then refuse("unknown option ", arg[i]) end
    if type(options[name]) == "boolean" then
      options[name] = true
    else
      i = i + 1
      local value = arg[i]
      if type(options[name]) == "number" then value = value and tonumber(value) end
      if value == nil then refuse("--", name, " needs a value") end
      options[name] = value
    end
    i = i + 1
  end
  return options
end
