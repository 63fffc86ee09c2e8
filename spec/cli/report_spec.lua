--- keel report: the page, what is in it, and what a browser makes of it.
local browser = require "support.browser"
local command = require "support.command"
local files = require "support.files"
local json = require("keel").json
local keel = require "keel"
local lfs = require "lfs"
local support = require "support"

-- The data of a page.
local function data_of(page)
  return assert(json.decode((page:match '<script type="application/json" id="data">(.-)</script>')))
end

local function named(rows)
  local by_id = {}
  for _, row in ipairs(rows) do by_id[row[1]] = row end
  return by_id
end

local run, path, env, folder, file

local function fresh_store()
  run, path, env = command.on_store()
  folder = support.dir()
  file = folder .. "/report.html"
end

local hostile = '</script><img src="x" onerror="document.title=1"><!--<script>\u{2028}'

-- Three runs that have ended, one that runs and two that wait for it.
local function fill()
  local runs = support.manager(support.open(path))
  for i, status in ipairs { "success", "error", "timeout" } do
    local record = assert(runs:create("done-" .. i, { user_id = i == 1 and "anna" or "ben" }))
    assert(runs:try_start(record.run_id))
    assert(runs:update_run_completion(record.run_id, { status = status, error = status == "error" and hostile or nil }))
  end
  local running = assert(runs:create("busy", { slots = { { name = "gpu", max = 1 } } }))
  assert(runs:try_start(running.run_id))
  local waiting = assert(runs:create("line", { slots = { { name = "gpu", max = 1 } } }))
  assert(runs:create("line", { multitask_strategy = "enqueue", after = { waiting.run_id } }))
  return runs, running, waiting
end

describe("keel report", function()
  before_each(fresh_store)
  after_each(support.clean_up)

  it("writes one page that loads nothing, for its owner alone", function()
    fill()
    local result = run("report", file)
    assert.same({ 0, "" }, { result.code, result.errors })
    assert.is_truthy(result.output:find "report%.html: [%d.]+ KiB, 6 runs\n$")
    local page = files.read(file)
    assert.is_truthy(page:find "^<!DOCTYPE html>")
    assert.is_truthy(page:find "</html>%s*$")
    for _, word in ipairs { "http:", "https:", "url(", "<link", "@import", "fetch(", "innerHTML", "<!-- data" } do
      assert.is_nil(page:find(word, 1, true), word)
    end
    assert.is_true(#page < 200 << 10)
    assert.equal("rw-------", lfs.attributes(file, "permissions"))
    for name in lfs.dir(folder) do assert.is_nil(name:find "%.part$", name) end
  end)

  it("has what there is of each run, and what is in the way of those that wait", function()
    local _, running, waiting = fill()
    local data = data_of(run("report", "-").output)
    assert.same({ 6, 2, 10000 }, { #data.runs, #data.waits, data.about.limit })
    local rows = named(data.runs)
    local row = rows[running.run_id]
    assert.same({ "busy", "running", 0 }, { row[2], row[3], row[10] })
    assert.is_true(row[4] <= row[5])
    assert.equal(keel.null, row[6])
    row = rows[waiting.run_id]
    assert.same({ "line", "pending", keel.null }, { row[2], row[3], row[5] })
    assert.equal(waiting.run_id, data.waits[1][1])
    local holder = "as many runs as may hold 'gpu' do, among them " .. running.run_id
    assert.is_truthy(data.waits[1][4][1]:find(holder, 1, true))
    assert.is_truthy(table.concat(data.waits[2][4], "\n"):find("it waits for run " .. waiting.run_id, 1, true))
  end)

  it("tells a lost owner from an attempt that failed, in the course and at the end", function()
    support.open(path)
    local child = support.spawn([[
      local runs = keel.run_manager { store = assert(keel.open(..., { owner = "victim" })) }
      for _, thread in ipairs { "given back", "left" } do
        local run = assert(runs:create(thread, { claimable = thread == "given back",
          reconciler = thread == "given back" and "requeue_orphans" or nil }))
        if thread == "given back" then assert(runs:claim_next {}) else assert(runs:try_start(run.run_id)) end
        say(run.run_id)
      end
      hear()
    ]], { path })
    local given_back, left = child:hear(), child:hear()
    child:kill()
    assert.equal(1, named(data_of(run("report", "-").output).runs)[left][10]) -- its process is gone
    assert.equal(0, run("reconcile", "--reconciler", "requeue_orphans").code)
    local runs = support.manager(support.open(path))
    local retried = assert(runs:create("retried", { max_attempts = 2 }))
    assert(runs:try_start(retried.run_id))
    assert(runs:requeue(retried.run_id, { error = "once more" }))
    local rows = named(data_of(run("report", "-").output).runs)
    local function kinds(id)
      local list = {}
      for i, part in ipairs(rows[id][11]) do list[i] = part[1] end
      return list
    end
    assert.same({ 0, 1, 0 }, kinds(retried.run_id))
    assert.same({ 0, 2, 0 }, kinds(given_back))
  end)

  it("leaves out what is older, but not what is in flight, and says so", function()
    local runs = support.manager(support.open(path))
    local first = assert(runs:create "first")
    for i = 1, 5 do
      local record = assert(runs:create("t" .. i))
      assert(runs:try_start(record.run_id))
      assert(runs:update_run_completion(record.run_id, { status = "success" }))
    end
    local result = run("report", file, "--limit", "3")
    assert.is_truthy(result.output:find("4 runs; older ones are left out (--limit)", 1, true))
    local data = data_of(files.read(file))
    assert.same({ true, 3, 4, first.run_id }, { data.about.more, data.about.limit, #data.runs, data.runs[4][1] })
    local told = json.decode(run("report", file, "--json").output)
    assert.same({ path = file, bytes = lfs.attributes(file, "size"), runs = 6, more = false }, told)
    assert.equal(0, #data_of(run("report", "-", "--since", "2999-01-01").output).runs)
    assert.equal(6, #data_of(run("report", "-", "--since", "1h").output).runs)
  end)

  it("replaces a file as a whole, keeps its permissions, and leaves it when it fails", function()
    fill()
    files.write(file, "old")
    assert(os.execute(("chmod 640 '%s'"):format(file)))
    assert.equal(0, run("report", "-q", file).code)
    assert.equal("rw-r-----", lfs.attributes(file, "permissions"))
    local before = files.read(file)
    local small = { "sh", "-c", [[ulimit -f 1; trap '' XFSZ; exec "$@"]], "sh" }
    local failed = command.run({ "report", file }, { env = env, prefix = small })
    assert.equal(1, failed.code)
    assert.is_truthy(failed.errors:find "^keel report: cannot write [^\n]+\n$", failed.errors)
    assert.equal(before, files.read(file))
    for name in lfs.dir(folder) do assert.is_nil(name:find "%.part$", name) end
  end)

  it("refuses wrong input with 2, and what cannot be written or read with 1, on one line", function()
    fill()
    for _, words in ipairs { {}, { "-", "--follow" }, { file, "--every", "2" }, { file, "--limit", "0" },
      { file, "--limit", "100001" }, { file, "--since", "soon" }, { file, "--follow", "--every", "0.5" }, { file, "x" },
      { file, "--folow" } } do
      local result = run("report", table.unpack(words))
      assert.equal(2, result.code, table.concat(words, " "))
      assert.is_truthy(result.errors:find "^keel report: [^\n]+\n$", result.errors)
    end
    for _, words in ipairs { { folder }, { folder .. "/none/x.html" }, { "/dev/null" },
      { file, "--store", folder .. "/none.db" } } do
      local result = run("report", table.unpack(words))
      assert.equal(1, result.code, table.concat(words, " "))
      assert.is_truthy(result.errors:find "^keel report: [^\n]+\n$", result.errors)
    end
    assert.is_false(files.exists(file))
  end)

  it("--follow writes it anew when something has happened, until it is interrupted", function()
    fill()
    local child = command.start({ "report", file, "--follow", "--every", "1", "--json" }, { env = env })
    assert.equal(6, json.decode(child:hear()).runs)
    assert(support.manager(support.open(path)):create "one more")
    assert.equal(7, json.decode(child:hear()).runs)
    assert.equal(7, #data_of(files.read(file)).runs)
    child.handle:kill "sigint"
    assert.same({ 0, 2 }, { child:wait() and child.code, child.signal })
  end)
end)

describe("the page of keel report", function()
  before_each(fresh_store)
  after_each(support.clean_up)

  it("draws, filters, zooms, sorts, shows a run, takes keys, and shows hostile text as text", function()
    if not browser.program() then
      pending "Chromium is not installed: nobody has looked at the page"
      return
    end
    fill()
    assert.equal(0, run("report", file).code)
    local found, console = browser.drive(file, folder, [[
      const $ = (id) => document.getElementById(id);
      const canvas = $("canvas");
      const rows = () => document.querySelectorAll("tr[data-place]");
      const texts = (column) => [...rows()].map((row) => row.cells[column].textContent);
      const ink = () =>
        new Set(canvas.getContext("2d").getImageData(0, 30, canvas.width, canvas.height - 30).data).size;
      await turn();
      check("count", $("count").textContent);
      check("rows", rows().length);
      check("ink", ink() > 10);
      check("label", canvas.getAttribute("aria-label"));
      check("title", document.title);
      check("images", document.images.length);
      check("hostile", texts(8).some((text) => text.includes("onerror")));
      check("waits", document.querySelectorAll("#waits tbody tr").length);
      check("why", $("waits").textContent.includes("as many runs as may hold 'gpu' do"));
      check("bars", document.querySelectorAll(".histogram .fill").length);

      const type = (id, text) => { $(id).value = text; $(id).dispatchEvent(new Event("input", { bubbles: true })); };
      type("filter-thread", "LIN");
      await turn();
      check("of thread", [$("count").textContent, texts(2)]);
      type("filter-thread", "");
      type("filter-user", "ann");
      await turn();
      check("of user", $("count").textContent);
      type("filter-user", "");
      document.querySelector('#filter-status input[value="success"]').click();
      await turn();
      check("not success", $("count").textContent);
      type("filter-from", "2999-01-01");
      await turn();
      check("later", [$("count").textContent, rows().length]);
      type("filter-from", "tomorrow");
      await turn();
      check("wrong time", [$("filter-from").getAttribute("aria-invalid"), $("count").textContent]);
      document.querySelector('#filters [type="reset"]').click();
      await turn(); await turn();
      check("reset", [$("count").textContent, $("filter-from").getAttribute("aria-invalid")]);

      const view = () => $("view").textContent.match(/\((.*)\)/)[1], all = view();
      canvas.focus();
      press(canvas, "+");
      const zoomed = view();
      press(canvas, "0");
      check("zoom by key", zoomed !== all && view() === all);
      canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -300, cancelable: true }));
      const wheeled = view();
      $("zoom-out").click(); $("zoom-out").click(); $("zoom-all").click();
      check("zoom by wheel and button", wheeled !== all && view() === all);
      canvas.blur();
      canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -300, cancelable: true }));
      check("the page scrolls", view() === all);

      const heads = document.querySelectorAll("#table thead th");
      heads[2].firstChild.click();
      const up = texts(2), upSort = heads[2].getAttribute("aria-sort");
      heads[2].firstChild.click();
      check("sorted", [up, upSort, texts(2).reverse().join() === up.join(), heads[2].getAttribute("aria-sort")]);

      rows()[0].focus();
      press(document.activeElement, "End");
      check("last row", document.activeElement.getAttribute("aria-rowindex"));
      press(document.activeElement, "ArrowUp");
      check("row before", document.activeElement.getAttribute("aria-rowindex"));
      press(document.activeElement, "Enter");
      await turn();
      check("details", [$("details").hidden, document.activeElement.id, $("fields").textContent.includes("done-2")]);
      $("details-close").click();
      check("closed", [$("details").hidden, document.activeElement.getAttribute("aria-rowindex")]);

      const unnamed = [...document.querySelectorAll("button, input")].filter((one) =>
        !(one.textContent.trim() || one.labels && one.labels.length));
      check("unnamed", unnamed.length);
      check("wide", document.documentElement.scrollWidth > document.documentElement.clientWidth);
    ]])
    local title = found.label
    found.label = nil
    assert.is_truthy(title:find "^Timeline of 6 runs on 5 threads, from ", title)
    assert.same({ count = "6 runs", rows = 6, ink = true, title = "Keel report", images = 0, hostile = true, waits = 2,
      why = true, bars = 20, ["of thread"] = { "2 of 6 runs", { "line", "line" } }, ["of user"] = "1 of 6 runs",
      ["not success"] = "5 of 6 runs", later = { "0 of 6 runs", 0 }, ["wrong time"] = { "true", "5 of 6 runs" },
      reset = { "6 runs", "false" }, ["zoom by key"] = true, ["zoom by wheel and button"] = true,
      ["the page scrolls"] = true,
      sorted = { { "busy", "done-1", "done-2", "done-3", "line", "line" }, "ascending", true, "descending" },
      ["last row"] = "7", ["row before"] = "6", details = { false, "details-title", false }, closed = { true, "6" },
      unnamed = 0, wide = false, ["is whole"] = true }, found)
    assert.equal("", console)
  end)
end)
