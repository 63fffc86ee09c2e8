--- Chromium without a window: opens a page that a script has been put into, and gives what the script found.
local files = require "support.files"
local json = require("keel").json
local process = require "support.process"

local M = {}

-- In front of the script. `check(name, value)` notes something, `turn()` waits until the page has drawn, `press`
-- presses a key. What is raised is noted too.
local FRONT = [[<script>
window.addEventListener("load", async () => {
  const found = {}, result = document.createElement("pre");
  result.id = "found";
  result.hidden = true;
  document.body.append(result);
  const check = (name, value) => { found[name] = value; result.textContent = JSON.stringify(found); };
  const turn = () => new Promise((done) => setTimeout(done, 50));
  const press = (where, key) =>
    where.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  try {
]]
local BACK = [[
    check("is whole", true);
  } catch (error) { check("error", String(error) + error.stack); }
});
</script>]]

-- The clock of a browser without a window stands still for timers only, so that frames are made by one.
local FRAMES = "<script>window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 5);</script>"

local entities = { ["&lt;"] = "<", ["&gt;"] = ">", ["&amp;"] = "&", ["&nbsp;"] = "\u{a0}" }

--- The program; nil: it is not installed.
function M.program()
  for folder in (os.getenv "PATH" or ""):gmatch "[^:]+" do
    for _, name in ipairs { "chromium", "chromium-browser", "google-chrome" } do
      if files.exists(folder .. "/" .. name) then return folder .. "/" .. name end
    end
  end
end

--- Opens the page in a folder of the test's own, with the script at its end. Gives what was checked, and what the page
--- said on the console.
function M.drive(page, folder, script, width, height)
  local path = folder .. "/driven.html"
  local front, rest = files.read(page):match "^(.-<head>)(.*)</body>"
  files.write(path, front .. FRAMES .. rest .. FRONT .. script .. BACK .. "</body></html>")
  local child = process.start({ M.program(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--user-data-dir=" .. folder .. "/profile", "--no-first-run", "--enable-logging=stderr",
    ("--window-size=%d,%d"):format(width or 1024, height or 900), "--virtual-time-budget=20000", "--dump-dom",
    "file://" .. path }, { env = { HOME = folder } })
  child:wait()
  local text = child.output:match '<pre id="found" hidden="">(.-)</pre>'
  if not text then error("the page did not get to its end\n" .. child.errors) end
  local console = {}
  for line in child.errors:gmatch "[^\n]*:CONSOLE[^\n]*" do console[#console + 1] = line end
  return json.decode((text:gsub("&%w+;", entities))), table.concat(console, "\n")
end

return M
