--- Two sessions on one store, with one clock by hand: `theirs` and `ours`, each a manager on a handle of its own.
local support = require "support"

return function(manager_options)
  local hand, path = support.clock(), support.path()
  local clock = { read = hand.read }
  local pair = { clock = clock, path = path }
  for _, side in ipairs { "theirs", "ours" } do
    local store = support.open(path, { clock = clock.read, monotonic = clock.read, durability = "off" })
    pair[side .. "_store"], pair[side] = store, support.manager(store, manager_options)
  end

  --- Moves both clocks of both sides, after each has looked at what others are to renew.
  function clock.advance(seconds)
    for _, side in ipairs { "theirs_store", "ours_store" } do
      pcall(function() return pair[side]:list_inflight { overdue = true, limit = 1 } end)
    end
    hand.advance(seconds)
  end

  --- A run that `theirs` (or the manager given) made and started through the gate.
  function pair.started(options, thread_id, manager)
    manager = manager or pair.theirs
    local run = assert(manager:create(thread_id or "t", options))
    assert(manager:try_start(run.run_id) == "started")
    return run
  end

  --- Every write of a former owner is refused, and the row stays as it is.
  function pair.is_shut_out(manager, run_id)
    local before = pair.ours_store:get(run_id)
    for _ = 1, 2 do -- what the first refusal teaches must not open the door for the second
      support.refused("stale_owner", manager:set_status(run_id, "success"))
      support.refused("stale_owner", manager:set_status(run_id, "error", { error = "late" }))
      support.refused("stale_owner", manager:update_run_completion(run_id, { status = "success", total_tokens = 9 }))
      support.refused("stale_owner", manager:update_run_completion(run_id, { total_tokens = 9 }))
      support.refused("stale_owner", manager:update_run_progress(run_id, { total_tokens = 9 }))
      support.refused("stale_owner", manager:update_model_name(run_id, "late"))
      support.refused("stale_owner", manager:requeue(run_id))
      support.refused("stale_owner", manager:settle(run_id))
      support.refused("stale_owner", manager:fail_pending(run_id))
      support.refused("stale_owner", manager:try_start(run_id))
    end
    local after = pair.ours_store:get(run_id)
    for name, value in pairs(before) do
      if type(value) ~= "table" and after[name] ~= value then
        error(("a late write changed %s from %s to %s"):format(name, tostring(value), tostring(after[name])), 2)
      end
    end
  end

  return pair
end
