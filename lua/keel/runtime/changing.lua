--- What changes a runtime: workers that are made, told and ended, and its own stop and start. Each change is a
--- transaction, in which the rules are asked, and the backend last. Adds its methods.
local backend = require "keel.runtime.backend"
local check = require "keel.check"
local kernel = require "keel.kernel"
local requests = require "keel.runtime.request"
local rules = require "keel.runtime.rules"

-- Makes a change in a transaction: `write(tx)` gives its answer and what the rules are shown, or nil and an error;
-- `agree(answer)`, if given, asks the backend last. What the backend refuses is not tried again.
local function change(self, name, write, cause, agree)
  local refusal
  rules.refresh(self._rules, function(...) self._client:log(...) end)
  local answer, err = self._client:transaction(name, function(tx)
    local made, seen = write(tx)
    if made == nil then return nil, seen end
    if not seen then return made end -- nothing has changed
    local ok, failure = rules.ask(self._rules, tx, { cause = cause, now = self._client:now(), runtime_id = self._id,
      worker = seen.worker, input = seen.input })
    if not ok then return nil, failure end
    if agree then
      ok, refusal = agree(made)
      if not ok then return nil, backend.refused end
    end
    return made
  end)
  if answer == nil then return nil, refusal or err end
  return answer
end

-- A worker that the backend made, and the store could not keep.
local function take_back(self, worker, err)
  local ok, failure = backend.ask(self._backend, "cancel", worker.worker_ref, "it could not be stored")
  if not ok then
    self._client:log("error", "a worker that was not stored is left in the backend",
      { worker_ref = worker.worker_ref, error = tostring(failure), cause = tostring(err) })
  end
end

-- Ends a worker as stopped or cancelled.
local function finish(self, ref, reason, name, status)
  ref = requests.ref(ref, 1, name)
  if reason == kernel.null then reason = nil end
  if reason ~= nil then check.type(reason, "string", 2, name) end
  local cause = "worker_" .. status
  if not self._backend and not rules.look_at(self._rules, cause) then
    return self:_call("end_worker", self._id, ref, status, reason)
  end
  local function write(tx)
    local before, err = tx:get_worker(self._id, ref)
    if not before then return nil, err end
    local ack
    ack, err = tx:end_worker(self._id, ref, status, reason)
    if not ack or before.status ~= "running" then return ack, err end
    before, err = tx:get_worker(self._id, ref)
    if not before then return nil, err end
    return ack, { worker = before }
  end
  local function ask()
    return backend.ask(self._backend, status == "stopped" and "stop" or "cancel", ref, reason)
  end
  return change(self, name, write, cause, self._backend and ask)
end

-- Asks the backend about every active worker.
local function stop_in_backend(self, tx)
  local after
  repeat
    local page, err = tx:list_workers(self._id, { active = true, after = after, limit = 1000 })
    if not page then return nil, err end
    for _, worker in ipairs(page) do
      local ok, refusal = backend.ask(self._backend, "stop", worker.worker_ref, "runtime stopped")
      if not ok then return nil, backend.refused, refusal end
      after = worker.worker_id
    end
  until #page == 0
  return true
end

---@param Runtime keel.Runtime
return function(Runtime)
  --- Makes a worker, running. With an idempotency_key that was used before, gives the worker of then, flagged
  --- `idempotency_reused`.
  --- Raises for unknown members and wrong types. Fails with invalid_request, limit_too_large, runtime_stopped,
  --- idempotency_mismatch, policy_failed and policy_budget (a diagnostic rule), what the backend refused with, and what
  --- writing fails with; then there is no worker.
  ---@param request? keel.WorkerRequest
  ---@return keel.Worker? worker
  ---@return keel.Error? err
  function Runtime:create_worker(request)
    request = check.options(request, requests.worker_members, 1, "create_worker")
    local fields, err = requests.worker(request)
    if not fields then return nil, err end
    local spawned
    local function write(tx)
      if spawned then take_back(self, spawned, "it is made anew") end
      spawned = nil
      local worker, reused = tx:create_worker(self._id, fields)
      if not worker then return nil, reused end
      if reused then
        worker.idempotency_reused = true
        return worker
      end
      return worker, { worker = worker }
    end
    local function spawn(worker)
      local ok, refusal = backend.ask(self._backend, "spawn", worker.worker_ref, kernel.json.copy(worker))
      if ok then spawned = worker end
      return ok, refusal
    end
    local worker
    worker, err = change(self, "create_worker", write, "worker_created", self._backend and spawn)
    if worker then return worker end
    if spawned then take_back(self, spawned, err) end
    return nil, err
  end

  --- Appends an input to a worker's transcript. With an idempotency_key that was used before, gives the answer of then,
  --- flagged `idempotency_reused`.
  --- Raises for unknown members and wrong types. Fails with wrong_runtime, not_found, invalid_request (content, kind,
  --- run_id; also when the worker is not running), limit_too_large, runtime_stopped, idempotency_mismatch, what the
  --- backend or a diagnostic rule refused with, and what writing fails with; then the transcript is as it was.
  ---@param ref keel.WorkerRef
  ---@param input keel.WorkerInput
  ---@return keel.InputAck? ack
  ---@return keel.Error? err
  function Runtime:send_input(ref, input)
    ref = requests.ref(ref, 1, "send_input")
    check.type(input, "table", 2, "send_input")
    input = check.options(input, requests.input_members, 2, "send_input")
    local looked_at = rules.look_at(self._rules, "worker_input_accepted")
    local function write(tx)
      local ack, reused = tx:send_worker_input(self._id, ref, input)
      if not ack then return nil, reused end
      if reused == true then
        ack.idempotency_reused = true
        return ack
      end
      if not looked_at then return ack, {} end
      local worker, err = tx:get_worker(self._id, ref)
      if not worker then return nil, err end
      return ack, { worker = worker, input = input }
    end
    if not self._backend and not looked_at then
      local ack, reused = self._client:call("send_worker_input", self._id, ref, input)
      if not ack then return nil, reused end
      if reused then ack.idempotency_reused = true end
      return ack
    end
    local function dispatch(ack)
      return backend.ask(self._backend, "dispatch_input", ref, { kind = input.kind, content = input.content,
        run_id = input.run_id, sequence = ack.transcript_sequence, event_id = ack.event_id })
    end
    return change(self, "send_input", write, "worker_input_accepted", self._backend and dispatch)
  end

  --- Stops a worker: it has done its work. One that has ended already stays as it is, and the answer says how.
  --- Raises for wrong types. Fails with wrong_runtime, not_found, runtime_stopped, what the backend or a diagnostic
  --- rule refused with, and what writing fails with.
  ---@param ref keel.WorkerRef
  ---@param reason? string the message of its event; default "worker stopped"
  ---@return keel.LifecycleAck? ack
  ---@return keel.Error? err
  function Runtime:stop_worker(ref, reason)
    return finish(self, ref, reason, "stop_worker", "stopped")
  end

  --- Cancels a worker: its work is not wanted any more. Else as stop_worker.
  ---@param ref keel.WorkerRef
  ---@param reason? string the message of its event; default "worker cancelled"
  ---@return keel.LifecycleAck? ack
  ---@return keel.Error? err
  function Runtime:cancel_worker(ref, reason)
    return finish(self, ref, reason, "cancel_worker", "cancelled")
  end

  --- Stops the runtime and its active workers, each with its own event, in one transaction. Stopping it again gives the
  --- event of then. Afterwards it can be read, and nothing of it changes until it is started.
  --- Fails with what the backend refused with, and what writing fails with; then nothing has changed.
  ---@return integer? event_id
  ---@return keel.Error? err
  function Runtime:stop()
    if not self._backend then return self:_call("stop_runtime", self._id) end
    local refusal
    local event_id, err = self._client:transaction("stop", function(tx)
      local summary, failure = tx:runtime_summary(self._id)
      if not summary then return nil, failure end
      if summary.status == "running" then
        local ok
        ok, failure, refusal = stop_in_backend(self, tx)
        if not ok then return nil, failure end
      end
      return tx:stop_runtime(self._id)
    end)
    if not event_id then return nil, refusal or err end
    return event_id
  end

  --- Makes a stopped runtime run again; its workers stay as they are. Starting it again gives the event of then.
  ---@return integer? event_id
  ---@return keel.Error? err
  function Runtime:start()
    return self:_call("start_runtime", self._id)
  end
end
