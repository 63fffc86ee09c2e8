--- Texts of the documentation in the columns there are: they are written for wider lines than many a terminal has.
local width = require "keel.cli.width"

local FULL = 112 -- columns; a line that ends before, though the next word had gone into it, was meant to end

--- The text with its paragraphs, list items and rows of tables filled to so many columns; code and titles as they are.
---@param text string Markdown
---@param columns integer
---@return string
return function(text, columns)
  local lines, paragraph, hanging, in_code, before = {}, nil, "", false, ""
  local function flush()
    if paragraph then lines[#lines + 1] = width.fill(paragraph, columns, hanging) end
    paragraph = nil
  end
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local is_fence = line:find "^```" ~= nil
    local item = line:match "^%s*[-*] +" or line:match "^%s*%d+%. +" or line:match "^| *"
    in_code = in_code ~= is_fence
    if in_code or is_fence or line == "" or line:find "^#" or (line:find "^    " and not paragraph) then
      flush()
      lines[#lines + 1] = line
    elseif item or not paragraph or #before + 1 + #line:match "%S+" <= FULL then
      flush()
      paragraph, hanging = line, (" "):rep(#(item or line:match "^%s*"))
    else
      paragraph = paragraph .. " " .. line
    end
    before = line
  end
  flush()
  return table.concat(lines, "\n")
end
